-- running_globally: how many calls of a processor are open over all daemons.
--   $1 processor text, $2 does a call hold a whole batch
--   returns calls int
--   called by: action_store.step_within, after lock_slots
select coalesce(sum(case when $2::boolean then 1
                         else cardinality(r.actions) - r.returned - r.completed - r.failed - r.retried - r.deferred
                              - r.canceled end), 0)::int as calls
  from actiond.run r
 where r.finished_at is null and r.processor = $1
