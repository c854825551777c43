-- doorbell_take: going to sleep. Become the one who may hold the bell (sentinel), then hold it (bell).
--
-- Session locks are counted, so a session asks only for what it does not have.
--   $1 processor text, $2 have the sentinel already boolean
--   returns sentinel boolean, bell boolean
--   called by: presence
with s as materialized (
  select $2::boolean or pg_try_advisory_lock(actiond.lock_class('sentinel'), actiond.lock_key($1)) as got)
select s.got as sentinel,
       case when s.got then pg_try_advisory_lock(actiond.lock_class('bell'), actiond.lock_key($1)) else false end as bell
  from s
