-- open_runs: what a dead daemon held, in id order; runs with suspects last, so that a rescue cut short
-- does not forget whom to blame.
--   $1 daemon int, $2 limit int
--   returns run_id bigint, processor text, suspects boolean
--   called by: rescue_loop
select r.id as run_id, r.processor,
       exists (select from actiond.action a
                where a.id = any(r.actions) and a.run_id = r.id and a.claimed_by = $1 and a.status = 'pending'
                  and a.crashes > 0) as suspects
  from actiond.run r
 where r.daemon = $1 and r.finished_at is null
 order by suspects, r.id
 limit $2
