-- take_daemon_lock: the liveness lock again, on the session that replaces a lost one.
--   $1 daemon int
--   returns locked boolean
--   called by: presence
select pg_try_advisory_lock(actiond.lock_class('daemon'), $1::int) as locked
