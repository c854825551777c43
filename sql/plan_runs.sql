-- plan_runs: the log of runs, newest first.
--   $1 plan text, or NULL, $2 run bigint, or NULL, $3 at most int
--   returns the columns of actiond.plan_log
--   called by: plan_edit.runs
select l.run, l.plan, l.status, l.created_at, l.started_at, l.finished_at, l.made, l.completed, l.failed, l.canceled,
       l.success_percent, l.open, l.rate, l.eta, l.error
  from actiond.plan_log l
 where ($1::text is null or l.plan = $1) and ($2::bigint is null or l.run = $2)
 order by l.run desc
 limit $3
