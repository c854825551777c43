-- show_children: how far the children of an action are.
--   $1 id bigint
--   returns the columns of actiond.progress, eta in seconds; no row without children
--   called by: read.action
select p.total, p.open, p.running, p.completed, p.failed, p.canceled, round(p.rate::numeric, 1)::float8 as per_s,
       extract(epoch from p.eta)::float8 as eta_s
  from actiond.progress($1) p
 where p.total > 0
