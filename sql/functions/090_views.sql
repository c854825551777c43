-- What people read. `running` is derived here and nowhere stored.
--
-- A view reads with its owner's rights. So columns that may hold somebody's data are shown to those who may select
-- them from the table itself, asked once a query; to others only that there is something. And nobody sees here what a
-- processor says is not to be shown (processor.redact).
create or replace view actiond.action_list as
select a.id,
       'A-' || lpad(a.id::text, 8, '0') as ref,
       a.processor,
       case when a.status = 'pending' and a.claimed_by <> 0 then 'running' else a.status end as status,
       a.related, a.priority, a.attempts, a.retries_left, a.crashes,
       a.next_eligible_at, a.created_at, a.started_at, a.finished_at,
       nullif(a.claimed_by, 0) as daemon,
       nullif(a.run_id, 0) as run_id,
       a.created_by,
       case when a.error is null or (select pg_catalog.has_column_privilege('actiond.action', 'error', 'select'))
            then a.error else '(hidden)' end as error,
       case when (select pg_catalog.has_column_privilege('actiond.action', 'data', 'select'))
            then coalesce((select actiond.redacted(a.data, p.redact) from actiond.processor p
                            where p.name = a.processor and p.redact <> '{}'), a.data)
            else '"(hidden)"' end as data,
       case when a.result is null or (select pg_catalog.has_column_privilege('actiond.action', 'result', 'select'))
            then coalesce((select actiond.redacted(a.result, p.redact) from actiond.processor p
                            where p.name = a.processor and p.redact <> '{}'), a.result)
            else '"(hidden)"' end as result,
       case when a.state is null or (select pg_catalog.has_column_privilege('actiond.action', 'state', 'select'))
            then coalesce((select actiond.redacted(a.state, p.redact) from actiond.processor p
                            where p.name = a.processor and p.redact <> '{}'), a.state)
            else '"(hidden)"' end as state,
       a.parent_id, a.waits_for, a.waits_on, a.repeat_every, a.trace,
       a.status as stored_status  -- for the views of one status: what an index can find
  from actiond.action a;

-- The policy in force, a row a knob, and where each value comes from.
create or replace view actiond.processor_policy as
select p.name as processor, k.knob,
       coalesce(k.override, p.declared ->> k.knob, p.built_in ->> k.knob) as value,
       case when k.override is not null then 'override'
            when p.declared ? k.knob then 'declared'
            else 'built-in' end as origin
  from actiond.processor p
 cross join lateral (values
   ('enabled',            p.enabled::text),
   ('batch_size',         p.batch_size::text),
   ('concurrency',        p.concurrency::text),
   ('global_concurrency', p.global_concurrency::text),
   ('retries',            p.retries::text),
   ('retry_interval',     p.retry_interval::text),
   ('backoff',            p.backoff),
   ('retry_max_interval', p.retry_max_interval::text),
   ('timeout',            p.timeout::text),
   ('start_delay',        p.start_delay::text),
   ('run_on_insert',      p.run_on_insert::text),
   ('history',            p.history),
   ('flag',               p.flag),
   ('window',             p."window"),
   ('rate',               p.rate),
   ('burst',              p.burst::text),
   ('breaker',            p.breaker::text),
   ('breaker_outcomes',   p.breaker_outcomes::text),
   ('breaker_pause',      p.breaker_pause::text),
   ('breaker_max_pause',  p.breaker_max_pause::text),
   ('retention_completed', p.retention_completed::text),
   ('retention_failed',   p.retention_failed::text),
   ('config',             p.config::text)) as k (knob, override);
