-- register_daemon: a new daemon, and its liveness lock in the same transaction, so that nobody sees one without the other.
--   $1 host text, $2 pid int, $3 version text, $4 processors text[], $5 lease float8 (seconds), $6 can it hold a lock
--   returns id int, locked boolean
--   called by: presence
with me as (
  insert into actiond.daemon (host, pid, version, processors, started_at, seen_at, lease_until, locks)
  select $1, $2, $3, $4, n.at, n.at, n.at + $5::float8 * interval '1 second', $6::boolean
    from (select actiond.now() as at) n
  returning id)
select me.id, $6::boolean and pg_try_advisory_lock(actiond.lock_class('daemon'), me.id) as locked from me
