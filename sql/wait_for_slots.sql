-- wait_for_slots: the lock under which a processor's bounds over all daemons are read and changed; for who must wait.
--   $1 processor text
--   returns nothing of use
--   called by: brake_store.heard
select pg_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key($1)) as locked
