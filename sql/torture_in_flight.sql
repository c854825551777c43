-- torture_in_flight: rows that a process holds.
--   $1 pid int
--   returns int
--   called by: torture/faults
select count(*)::int
  from actiond.daemon d
  join actiond.run r on r.daemon = d.id and r.finished_at is null
 cross join lateral unnest(r.actions) as held (id)
  join actiond.action a on a.id = held.id and a.run_id = r.id and a.claimed_by = d.id and a.status = 'pending'
 where d.pid = $1 and d.ended_at is null
