-- show_runs: the runs that an action went through: the ones history names, and the last.
--   $1 id bigint
--   returns id, daemon, started_at, finished_at, actions int (how many it held)
--   called by: read.action
select r.id, r.daemon, r.started_at, r.finished_at, cardinality(r.actions) as actions
  from actiond.run r
 where r.id in (select h.run_id from actiond.history h where h.action_id = $1
                union select a.run_id from actiond.action a where a.id = $1)
 order by r.id
