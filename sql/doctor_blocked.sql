-- doctor_blocked: sessions of daemons that wait for a lock, and who holds it.
--   $1 seconds float8
--   returns pid int, application text, by_pid int, by_who text, by_application text, waits_s float8
--   called by: doctor
select a.pid, a.application_name as application, b.pid as by_pid, b.usename::text as by_who,
       b.application_name as by_application, extract(epoch from clock_timestamp() - l.since)::float8 as waits_s
  from pg_stat_activity a
 cross join lateral (select min(w.waitstart) as since from pg_locks w where w.pid = a.pid and not w.granted) l
 cross join lateral unnest(pg_blocking_pids(a.pid)) as blocking (pid)
  left join pg_stat_activity b on b.pid = blocking.pid
 where a.datname = current_database() and a.wait_event_type = 'Lock' and a.application_name like 'actiond %'
   and l.since < clock_timestamp() - $1::float8 * interval '1 second'
 order by l.since
 limit 20
