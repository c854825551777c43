-- plan_run: run a plan now.
--   $1 name text
--   returns bigint, the id of the run
--   called by: plan_edit.run
select actiond.plan_run($1)
