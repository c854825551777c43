-- register_daemon: a new daemon, and its liveness lock in the same transaction, so that nobody sees one without the other.
--   $1 host text, $2 pid int, $3 version text, $4 processors text[], $5 lease float8 (seconds)
--   returns id int, locked boolean
--   called by: presence
with me as (
  insert into actiond.daemon (host, pid, version, processors, started_at, seen_at, lease_until)
  select $1, $2, $3, $4, n.at, n.at, n.at + $5::float8 * interval '1 second' from (select actiond.now() as at) n
  returning id)
select me.id, pg_try_advisory_lock(actiond.lock_class('daemon'), me.id) as locked from me
