-- doctor_runs: the oldest open runs, and how long they may be open.
--
-- A run may wait for one before it, and its calls go as many at once as the processor has places.
--   no parameters
--   returns id, processor, daemon, rows int (still open), age_s, allowed_s, lives (its daemon), seen_s (NULL = ended)
--   called by: doctor
with daemons as materialized (select * from actiond.living_daemons())
select r.id, r.processor, r.daemon, o.rows, extract(epoch from n.at - r.started_at)::float8 as age_s,
       (extract(epoch from coalesce(p.timeout, (p.declared ->> 'timeout')::interval, (p.built_in ->> 'timeout')::interval,
                                    interval '5 minutes'))
        * (1 + case when (p.built_in ->> 'batch')::boolean then 1
                    else ceil(o.rows::float8 / coalesce(p.concurrency, (p.declared ->> 'concurrency')::int,
                                                        (p.built_in ->> 'concurrency')::int, 1)) end))::float8 as allowed_s,
       coalesce(d.lives, false) as lives, d.seen_s
  from (select actiond.now() as at) n
 cross join (select * from actiond.run where finished_at is null order by id limit 1000) r
 cross join lateral (
   select cardinality(r.actions) - r.returned - r.completed - r.failed - r.retried - r.deferred - r.canceled as rows) o
  left join actiond.processor p on p.name = r.processor
  left join daemons d on d.id = r.daemon
 order by r.id
