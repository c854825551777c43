-- torture_cut_presence: terminate the session that holds the liveness lock of a process.
--   $1 pid of the daemon int
--   returns boolean
--   called by: torture/faults
select pg_terminate_backend(l.pid)
  from actiond.daemon d
  join pg_locks l on l.locktype = 'advisory' and l.objsubid = 2 and l.granted
                 and l.classid = actiond.lock_class('daemon')::oid and l.objid = d.id::oid
 where d.pid = $1 and d.ended_at is null
