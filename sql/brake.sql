-- brake: how the breaker of a processor stands, and what the bucket of its rate held when somebody last took of it.
--
-- The outcome of a probe is heard a moment after its run has ended. When nobody reports it, as its daemon died or the
-- row was given back, the right to probe is free again after five seconds.
--   $1 processor text
--   returns one row, also for a processor without one: at timestamptz, tokens float8 (NULL = nobody ever took one),
--     tokens_age_s float8, recent text, left_s float8 (NULL = closed), failed_probes int, probe_run bigint,
--     probe_is_lost boolean
--   called by: brake_store.read
with clock as materialized (select actiond.now() as at)
select clock.at, b.tokens, coalesce(extract(epoch from clock.at - b.tokens_at), 0)::float8 as tokens_age_s,
       coalesce(b.recent, '') as recent, extract(epoch from b.open_until - clock.at)::float8 as left_s,
       coalesce(b.failed_probes, 0) as failed_probes, b.probe_run,
       b.probe_run is not null and not exists (
         select from actiond.run r
          where r.id = b.probe_run and (r.finished_at is null or r.finished_at > clock.at - interval '5 seconds'))
         as probe_is_lost
  from clock left join actiond.brake b on b.processor = $1
