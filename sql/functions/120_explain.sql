-- Why is this row not running? The facts, and what follows from them.
--
-- explain_facts(id): one row, also for an id that does not exist (status `missing`). Nothing is counted without a bound.
create or replace function actiond.explain_facts(id bigint)
returns table (
  at timestamptz, status text, processor text, priority smallint, due_at timestamptz, due_in_s float8, attempts integer,
  crashes smallint, error text, created_by text, finished_at timestamptz,
  said_by text, said_at timestamptz, said text,             -- the last entry of history about this status
  run_id bigint, daemon integer, host text, pid integer,    -- who runs it
  running_s float8, seen_s float8, lease_left_s float8, daemon_lives boolean,
  paused boolean, enabled boolean, registered boolean, uses text, run_on_insert boolean, woken_at timestamptz,
  start_delay_s float8, start_delay_left_s float8,
  daemons jsonb, served boolean,                            -- the last 100 that have not ended
  rate text, token_in_s float8,                             -- see the view actiond.brake_list
  breaker text, breaker_opened_at timestamptz, probe_in_s float8, breaker_failed integer, breaker_outcomes integer,
  failed_probes integer,
  flag text, flag_on boolean, flag_set boolean, flag_of text, -- of the processor, or of the plan that this is a run of
  "window" text, opens_at timestamptz, opens_in_s float8,   -- NULL: it is open; see the view actiond.switch_list
  calls integer, global_limit integer,                      -- open calls over all daemons
  places integer, room integer,                             -- on the daemons that live and serve it
  suspects_turn boolean, locked_by integer, locked_by_name text,
  waits_for text, waits_on bigint, waits_on_status text,    -- see sql/migrations/0003_families.sql
  children_open integer,                                    -- counting stops at 10,001
  ahead integer,                                            -- counting stops at 10,001
  per_s float8                                              -- outcomes of the processor, over at most five minutes
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
with clock as materialized (select actiond.now() as at),
it as materialized (
  select a.id, a.processor, a.priority, a.next_eligible_at, a.attempts, a.crashes, a.created_by, a.created_at, a.started_at,
         a.finished_at, a.run_id, a.claimed_by, a.waits_for, a.waits_on, a.xmax as locker, l.error,
         case when a.id is null then 'missing' when a.status = 'pending' and a.claimed_by <> 0 then 'running'
              else a.status end as is_now,
         a.status = 'pending' and a.claimed_by = 0 and a.next_eligible_at <= clock.at as due
    from clock left join actiond.action a on a.id = $1 left join actiond.action_list l on l.id = a.id),
policy as materialized (
  select p.name, p.uses, p.woken_at,
         coalesce(p.enabled, (p.declared ->> 'enabled')::boolean, true) as enabled,
         coalesce(p.run_on_insert, (p.declared ->> 'run_on_insert')::boolean, true) as run_on_insert,
         coalesce(p.concurrency, (p.declared ->> 'concurrency')::int, (p.built_in ->> 'concurrency')::int) as concurrency,
         coalesce(p.global_concurrency, (p.declared ->> 'global_concurrency')::int) as global_limit,
         extract(epoch from coalesce(p.start_delay, (p.declared ->> 'start_delay')::interval, interval '0'))::float8
           as start_delay_s,
         coalesce((p.built_in ->> 'batch')::boolean, p.uses is not null) as batch
    from it left join actiond.processor p on p.name = it.processor),
daemons as materialized (
  select d.id, d.host, d.pid, d.processors, d.seen_s, d.lives,
         it.processor = any(d.processors) or policy.uses is not null as serves
    from actiond.living_daemons() d, it, policy
   order by d.id desc limit 100),
open as materialized (
  select r.id, r.daemon, r.actions,
         case when policy.batch then 1
              else cardinality(r.actions) - r.returned - r.completed - r.failed - r.retried - r.deferred - r.canceled
         end as calls
    from actiond.run r, it, policy
   where r.finished_at is null and r.processor = it.processor),
serving as materialized (
  select d.id, policy.concurrency, coalesce((select sum(o.calls) from open o where o.daemon = d.id), 0) as calls,
         it.crashes > 0 and exists (
           select from actiond.run r join actiond.action a on a.id = any(r.actions)
            where r.finished_at is null and r.daemon = d.id and a.run_id = r.id and a.claimed_by = d.id
              and a.status || '' = 'pending' and a.crashes > 0) as has_suspects
    from daemons d, policy, it
   where d.lives and d.serves),
recent as materialized (
  select r.started_at, r.completed + r.failed + r.retried + r.deferred + r.canceled as outcomes
    from (select * from actiond.run order by id desc limit 5000) r, clock, it
   where r.processor = it.processor
     and (r.finished_at is null or r.finished_at > clock.at - interval '5 minutes'))
select clock.at, it.is_now, it.processor, it.priority, it.next_eligible_at,
       extract(epoch from it.next_eligible_at - clock.at)::float8, it.attempts, it.crashes, it.error,
       it.created_by, it.finished_at, h.by, h.at, h.detail,
       case when it.is_now = 'running' then it.run_id end, case when it.is_now = 'running' then it.claimed_by end,
       w.host, w.pid, case when it.is_now = 'running' then extract(epoch from clock.at - it.started_at) end::float8,
       case when w.id is not null then greatest(0, extract(epoch from clock.at - w.seen_at)) end::float8,
       extract(epoch from w.lease_until - clock.at)::float8,
       case when it.is_now = 'running' then exists (
         select from daemons d where d.id = it.claimed_by and d.lives) end,
       coalesce((select s.value = 'true'::jsonb from actiond.setting s where s.name = 'paused'), false),
       coalesce(policy.enabled, true), policy.name is not null, policy.uses, coalesce(policy.run_on_insert, true),
       policy.woken_at, policy.start_delay_s,
       case when it.due and not exists (select from open)
            then greatest(0, policy.start_delay_s
                   - extract(epoch from clock.at - greatest(it.next_eligible_at, it.created_at))) else 0 end::float8,
       (select coalesce(jsonb_agg(jsonb_build_object('id', d.id, 'host', d.host, 'pid', d.pid, 'seen_s', d.seen_s,
                 'lives', d.lives, 'serves', d.serves, 'processors', d.processors) order by d.id), '[]') from daemons d),
       exists (select from serving), brake.rate, brake.token_in_s, brake.breaker, brake.opened_at, brake.probe_in_s,
       brake.failed, brake.outcomes, brake.failed_probes,
       flag.name, flag.is_on, exists (select from actiond.setting s where s.name = 'flag:' || flag.name), flag.of,
       switch."window", switch.opens_at, switch.opens_in_s,
       (select coalesce(sum(o.calls), 0) from open o)::int, policy.global_limit,
       (select sum(s.concurrency) from serving s)::int,
       (select sum(greatest(0, s.concurrency - s.calls)) from serving s where s.concurrency is not null)::int,
       coalesce(it.crashes, 0) = 0 or not exists (select from serving) or exists (
         select from serving s where not s.has_suspects),
       locked.pid, locked.name, it.waits_for, it.waits_on,
       case when it.waits_on is not null
            then coalesce((select o.status from actiond.action_list o where o.id = it.waits_on), 'missing') end,
       case when it.waits_for = 'children' then (
         select count(*) from (
           select from actiond.action c
            where c.parent_id = it.id and c.status in ('pending', 'held') limit 10001) x) end::int,
       case when it.due then (
         select count(*) from unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
           select from actiond.action a
            where a.processor = it.processor and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
              and (a.next_eligible_at, a.id) < (
                case when l.level < it.priority then (select c.at from clock c) else it.next_eligible_at end,
                case when l.level < it.priority then 9223372036854775807 else it.id end)
            order by a.next_eligible_at, a.id limit 10001) x
          where l.level <= it.priority) else 0 end::int,
       (select sum(r.outcomes) / greatest(1, extract(epoch from
                 clock.at - greatest(min(r.started_at), clock.at - interval '5 minutes'))) from recent r)::float8
  from clock
 cross join it
 cross join policy
  left join actiond.brake_list brake on brake.processor = policy.name
  left join actiond.switch_list switch on switch.processor = policy.name
  left join actiond.plan_waits waiting on waiting.run = it.id
 cross join lateral (
   select case when f.of_plan then waiting.flag else switch.flag end as name,
          case when f.of_plan then actiond.flag_on(waiting.flag) else coalesce(switch.flag_on, true) end as is_on,
          case when f.of_plan then 'plan ' || quote_literal(waiting.plan) else quote_literal(it.processor) end as of
     from (select waiting.flag is not null and coalesce(switch.flag_on, true) as of_plan) f) flag
  left join actiond.daemon w on w.id = it.claimed_by and it.is_now = 'running'
  left join lateral (
    select h.by, h.at, h.detail from actiond.history_list h
     where h.action_id = it.id and h.event = it.is_now order by h.id desc limit 1) h on true
  left join lateral (
    select l.pid, s.application_name as name
      from pg_locks l left join pg_stat_activity s on s.pid = l.pid
     where l.locktype = 'transactionid' and l.transactionid = it.locker and l.mode = 'ExclusiveLock' and l.granted
     limit 1) locked on it.due
$$;

-- explain(id): why this row is not running, the deciding reason first; no row = nothing stands in its way.
-- The names and their order are those of the daemon's own gate (daemon/actiond/rules/gate.py).
create or replace function actiond.explain(id bigint) returns table (reason text, meaning text, facts jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
with f as materialized (
  select e.*, e.status not in ('missing', 'completed', 'failed', 'canceled', 'running') as open,
         e.status = 'pending' and e.due_in_s <= 0 as due
    from actiond.explain_facts($1) e)
select r.reason, r.meaning, jsonb_strip_nulls(r.facts)
  from f cross join lateral (values
    (1, 'missing', 'there is no such action', f.status = 'missing', '{}'),
    (2, 'completed', 'it is completed', f.status = 'completed',
        jsonb_build_object('at', f.finished_at, 'attempts', f.attempts)),
    (3, 'failed', 'it has failed for good', f.status = 'failed',
        jsonb_build_object('at', f.finished_at, 'attempts', f.attempts, 'error', f.error)),
    (4, 'canceled', 'it was canceled', f.status = 'canceled',
        jsonb_build_object('at', f.finished_at, 'by', f.said_by, 'detail', f.said)),
    (5, 'running', 'it is running', f.status = 'running',
        jsonb_build_object('run', f.run_id, 'daemon', f.daemon, 'host', f.host, 'running_s', f.running_s,
                           'seen_s', f.seen_s, 'lease_left_s', f.lease_left_s, 'daemon_lives', f.daemon_lives)),
    (6, 'waits', 'it waits for other actions', f.status = 'held' and f.waits_for is not null,
        jsonb_build_object('for', f.waits_for, 'on', f.waits_on, 'which_is', f.waits_on_status,
                           'children_open', f.children_open)),
    (7, 'held', 'it is held', f.status = 'held' and f.waits_for is null, jsonb_build_object('by', f.said_by, 'at', f.said_at)),
    (8, 'future', 'it is not due yet', f.open and f.due_in_s > 0,
        jsonb_build_object('due_at', f.due_at, 'due_in_s', f.due_in_s)),
    (9, 'paused', 'everything is paused (setting paused)', f.open and f.paused, '{}'),
    (10, 'disabled', 'the processor is disabled', f.open and not f.enabled,
        jsonb_build_object('processor', f.processor)),
    (11, 'flag_off', 'its feature flag is off', f.open and not f.flag_on,
        jsonb_build_object('flag', f.flag, 'of', f.flag_of, 'set', f.flag_set)),
    (12, 'no_daemon', 'no daemon that lives serves the processor', f.open and not f.served,
        jsonb_build_object('processor', f.processor, 'registered', f.registered, 'daemons', f.daemons)),
    (13, 'window_closed', 'the processor runs only in its window, which is closed', f.due and f.opens_in_s > 0,
        jsonb_build_object('window', f."window", 'opens_at', f.opens_at, 'opens_in_s', f.opens_in_s)),
    (14, 'not_woken', 'the processor runs only when it is woken, and was not since the row fell due',
        f.due and not f.run_on_insert and (f.woken_at is null or f.woken_at < f.due_at),
        jsonb_build_object('woken_at', f.woken_at, 'due_at', f.due_at)),
    (15, 'breaker', 'its breaker is open: too many of its latest outcomes are failures',
        f.due and (f.breaker = 'probing' or f.breaker = 'open' and f.probe_in_s > 0),
        jsonb_build_object('opened_at', f.breaker_opened_at, 'failed', f.breaker_failed, 'outcomes', f.breaker_outcomes,
                           'failed_probes', f.failed_probes, 'probing', f.breaker = 'probing', 'probe_in_s', f.probe_in_s)),
    (16, 'locked', 'another session holds a lock on the row', f.due and f.locked_by is not null,
        jsonb_build_object('pid', f.locked_by, 'application', f.locked_by_name)),
    (17, 'rate', 'the rate over all daemons is reached', f.due and f.token_in_s > 0,
        jsonb_build_object('rate', f.rate, 'token_in_s', f.token_in_s)),
    (18, 'global_limit', 'the limit over all daemons is reached', f.due and f.calls >= f.global_limit,
        jsonb_build_object('calls', f.calls, 'limit', f.global_limit)),
    (19, 'concurrency', 'every place of its processor is taken', f.due and f.room <= 0,
        jsonb_build_object('calls', f.calls, 'places', f.places)),
    (20, 'suspect', 'daemons died on it, and another such row has its turn', f.due and not f.suspects_turn,
        jsonb_build_object('crashes', f.crashes)),
    (21, 'start_delay', 'the processor waits for a burst to gather', f.due and f.start_delay_left_s > 0,
        jsonb_build_object('start_delay_s', f.start_delay_s, 'left_s', f.start_delay_left_s)),
    (22, 'behind', 'other rows come first', f.due and f.ahead > 0,
        jsonb_build_object('ahead', f.ahead, 'per_s', f.per_s)))
    as r (place, reason, meaning, holds, facts)
 where r.holds
 order by r.place
$$;
