-- The doorbell: NOTIFY only when a daemon has said that it sleeps.
--
-- NOTIFY takes a lock of the whole cluster at commit. So a busy system must not ring: while daemons are
-- awake the shared lock is granted and nothing is sent. The lock lives until the inserter's commit; a
-- daemon goes to sleep only when it got the lock exclusively, which is after every commit it could miss.
-- Runs with the inserter's rights and touches no table, so a role that may only INSERT can fire it.
create or replace function actiond.ring(processor text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pg_catalog.pg_notify('actiond_wake', $1)
   where not pg_catalog.pg_try_advisory_xact_lock_shared(actiond.lock_class('bell'), actiond.lock_key($1))
$$;
