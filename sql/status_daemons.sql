-- status_daemons: the daemons that have not ended.
--   no parameters
--   returns id, host, pid, version, processors, up_s, seen_s (ago), alive boolean, running int,
--     ticked_s (ago; when it last looked for schedules, NULL = never)
--   called by: read.status
select d.id, d.host, d.pid, d.version, d.processors, extract(epoch from n.at - d.started_at)::float8 as up_s,
       greatest(0, extract(epoch from n.at - d.seen_at))::float8 as seen_s, d.lease_until > n.at as alive,
       (select coalesce(sum(cardinality(r.actions) - r.returned - r.completed - r.failed - r.retried - r.deferred
                            - r.canceled), 0) from actiond.run r
         where r.daemon = d.id and r.finished_at is null)::int as running,
       greatest(0, extract(epoch from n.at - d.ticked_at))::float8 as ticked_s
  from actiond.daemon d, (select actiond.now() as at) n
 where d.ended_at is null
 order by d.id
