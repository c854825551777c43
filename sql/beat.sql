-- beat: I am alive; and who is not?
--
-- A peer is dead when its lock is free and it was not seen for $3 seconds, or when its lease ran out. The lock
-- alone is not enough: a session can drop while the process lives on. Nor is silence just after we came back
-- ourselves ($4): the server may have been away for everybody. A daemon behind a pooler without sessions holds no lock,
-- so only its lease tells.
--   $1 daemon int, $2 lease float8 (seconds), $3 silence float8 (seconds), $4 watching since float8 (seconds)
--   returns alive boolean (false: this daemon was declared dead), dead int[]
--   called by: presence, every second
with clock as materialized (select actiond.now() as at),
me as (
  update actiond.daemon d set seen_at = clock.at, lease_until = clock.at + $2::float8 * interval '1 second'
    from clock where d.id = $1 and d.ended_at is null
  returning d.id)
select exists (select from me) as alive,
       array(select d.id from actiond.daemon d, clock
              where d.ended_at is null and d.id <> $1
                and (   d.lease_until < clock.at and $4::float8 >= $3::float8
                     or $4::float8 >= $3::float8 and d.locks and d.seen_at < clock.at - $3::float8 * interval '1 second'
                        and not exists (select from pg_locks l
                                         where l.locktype = 'advisory' and l.granted and l.objsubid = 2
                                           and l.classid = actiond.lock_class('daemon')::oid and l.objid = d.id::oid
                                           and l.database = (select b.oid from pg_database b
                                                              where b.datname = current_database())))
              order by d.id limit 100) as dead
