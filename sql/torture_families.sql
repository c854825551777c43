-- torture_families: what became of parents. A child that somebody released may end after its parent.
--   no parameters
--   returns id bigint, status text, children int, early boolean (its last run began while a child was open)
--   called by: torture/ledger
select p.id, p.status, count(c.id)::int as children,
       p.status = 'completed' and coalesce(bool_or(c.finished_at is null or c.finished_at > p.started_at and not exists (
         select from actiond.history h where h.action_id = c.id and h.event = 'released')), false) as early
  from actiond.action p
  left join actiond.action c on c.parent_id = p.id
 where p.processor = 'torture_parent'
 group by p.id
