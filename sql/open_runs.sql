-- open_runs: what a dead daemon held, in id order; runs with suspects last, so that a rescue cut short
-- does not forget whom to blame.
-- `status || ''`: by id, please. A plan made while the table was empty would use the index of all that wait.
--   $1 daemon int, $2 limit int
--   returns run_id bigint, processor text, suspects boolean: in any of its open runs, also beyond the limit
--   called by: rescue_loop
select r.id as run_id, r.processor, bool_or(s.suspects) over () as suspects
  from actiond.run r
 cross join lateral (
   select exists (select from actiond.action a
                   where a.id = any(r.actions) and a.run_id = r.id and a.claimed_by = $1 and a.status || '' = 'pending'
                     and a.crashes > 0) as suspects) s
 where r.daemon = $1 and r.finished_at is null
 order by s.suspects, r.id
 limit $2
