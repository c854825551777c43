-- poll: the safety poll, one for all processors: overrides, stored wakes, breakers, and who has rows due.
--   no parameters
--   returns one row a processor: its overrides (NULL = as declared; durations in seconds), woken_at, breaker_left_s
--     (of the pause of an open breaker; NULL = closed), due_times timestamptz[] and due_ids bigint[] (of each priority level
--     the first row that is due, or NULL); and in every row now timestamptz, the settings as one
--     JSON object, and how full the queue of notifications is, float8 (share): asking also frees what everybody has read,
--     which in a full queue nothing else does: only who notifies does so, and then nobody can
--   called by: processor_store.poll
with clock as materialized (
  select actiond.now() as at, pg_catalog.pg_notification_queue_usage()::float8 as queue),
settings as materialized (
  select coalesce(jsonb_object_agg(s.name, s.value), '{}')::text as all_of_them from actiond.setting s)
select p.name, p.uses, p.enabled, p.batch_size, p.concurrency, p.global_concurrency, p.retries,
       extract(epoch from p.retry_interval)::float8 as retry_interval, p.backoff,
       extract(epoch from p.retry_max_interval)::float8 as retry_max_interval,
       extract(epoch from p.timeout)::float8 as timeout, extract(epoch from p.start_delay)::float8 as start_delay,
       p.run_on_insert, p.history, p.flag, p."window", p.rate, p.burst, p.breaker, p.breaker_outcomes,
       extract(epoch from p.breaker_pause)::float8 as breaker_pause,
       extract(epoch from p.breaker_max_pause)::float8 as breaker_max_pause, p.config::text as config, p.woken_at,
       extract(epoch from b.open_until - (select clock.at from clock))::float8 as breaker_left_s,
       due.times as due_times, due.ids as due_ids,
       (select clock.at from clock) as now, (select clock.queue from clock) as queue, settings.all_of_them as settings
  from settings left join actiond.processor p on true left join actiond.brake b on b.processor = p.name
  left join lateral (
    select array_agg(first.next_eligible_at order by l.level) as times, array_agg(first.id order by l.level) as ids
      from unnest('{0,1,2,3}'::int2[]) as l (level)
      left join lateral (
        select a.next_eligible_at, a.id
          from actiond.action a
         where a.processor = p.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
           and a.next_eligible_at <= (select clock.at from clock)
         order by a.next_eligible_at, a.id
         limit 1) first on true) due on true
