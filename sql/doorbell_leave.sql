-- doorbell_leave: waking up. Let go of the bell and the sentinel, then ring once: a peer may have counted on us.
--   $1 processor text, $2 have the bell boolean
--   returns nothing of use
--   called by: presence
with bell as materialized (
  select case when $2::boolean then pg_advisory_unlock(actiond.lock_class('bell'), actiond.lock_key($1)) end as done),
sentinel as materialized (
  select pg_advisory_unlock(actiond.lock_class('sentinel'), actiond.lock_key($1)) as done from bell)
select pg_notify('actiond_wake', $1) from sentinel
