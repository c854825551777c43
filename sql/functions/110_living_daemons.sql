-- The daemons that have not ended, and which of them live: the lease is not over and, if it was not seen for a
-- while (it beats every second), the session that holds its lock is still there.
create or replace function actiond.living_daemons()
returns table (id integer, host text, pid integer, version text, processors text[], seen_s float8, lease_left_s float8,
               lives boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select d.id, d.host, d.pid, d.version, d.processors, greatest(0, extract(epoch from clock.at - d.seen_at))::float8,
         extract(epoch from d.lease_until - clock.at)::float8,
         d.lease_until > clock.at and (d.seen_at > clock.at - interval '2.5 seconds' or exists (
           select from pg_locks l
            where l.locktype = 'advisory' and l.granted and l.objsubid = 2
              and l.classid = actiond.lock_class('daemon')::oid and l.objid = d.id::oid
              and l.database = (select b.oid from pg_database b where b.datname = current_database())))
    from actiond.daemon d, (select actiond.now() as at) clock
   where d.ended_at is null
$$;
