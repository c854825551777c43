-- status_processors: what waits, runs and fails, for each processor that is known or has rows.
--
-- Nothing here counts a whole table: counts stop at $1 (a number of $1 means "at least"), running comes from the
-- open runs, rates from the runs of the last five minutes (at most 5,000 of them). What is counted is ordered as
-- its index is: without that Postgres takes a limit for a reason to begin at the front of the table.
--   $1 count at most int
--   returns processor, registered boolean, enabled, due, oldest_due_s, scheduled, running, failed, completed_5min,
--     failed_5min, retried_5min, live_daemons int; rate (NULL = none), token_in_s (until it allows a row), breaker
--     (closed, open, probing; NULL = none), probe_in_s, breaker_failed, breaker_outcomes int: what opened it;
--     flag (NULL = none), flag_on boolean, window (NULL = none), opens_in_s (NULL = it is open)
--   called by: read.status
with recursive clock as materialized (select actiond.now() as at),
waiting as (
  (select a.processor from actiond.action a where a.status = 'pending' order by a.processor limit 1)
  union all
  select (select a.processor from actiond.action a
           where a.status = 'pending' and a.processor > w.processor order by a.processor limit 1)
    from waiting w where w.processor is not null),
names as (
  select p.name from actiond.processor p union select w.processor from waiting w where w.processor is not null),
recent as materialized (
  select r.* from (select * from actiond.run r order by r.id desc limit 5000) r, clock
   where r.finished_at > clock.at - interval '5 minutes'),
rates as (
  select r.processor, sum(r.completed) as completed, sum(r.failed) as failed, sum(r.retried) as retried
    from recent r group by r.processor),
running as (
  select r.processor,
         sum(cardinality(r.actions) - r.returned - r.completed - r.failed - r.retried - r.deferred - r.canceled) as n
    from actiond.run r where r.finished_at is null group by r.processor)
select n.name as processor, p.name is not null as registered,
       coalesce(p.enabled, (p.declared ->> 'enabled')::boolean, true) as enabled,
       (select count(*) from unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
          select from actiond.action a
           where a.processor = n.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
             and a.next_eligible_at <= (select c.at from clock c)
           order by a.next_eligible_at limit $1) x)::int as due,
       (select max(extract(epoch from clock.at - x.next_eligible_at))
          from clock, unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
          select a.next_eligible_at from actiond.action a
           where a.processor = n.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
             and a.next_eligible_at <= (select c.at from clock c) order by a.next_eligible_at limit 1) x)::float8 as oldest_due_s,
       (select count(*) from unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
          select from actiond.action a
           where a.processor = n.name and a.priority = l.level and a.status = 'pending'
             and a.next_eligible_at > (select c.at from clock c)
           order by a.next_eligible_at limit $1) x)::int as scheduled,
       coalesce(r.n, 0)::int as running,
       (select count(*) from (
          select from actiond.action a where a.processor = n.name and a.status = 'failed'
           order by a.finished_at limit $1) x)::int as failed,
       coalesce(rates.completed, 0)::int as completed_5min, coalesce(rates.failed, 0)::int as failed_5min,
       coalesce(rates.retried, 0)::int as retried_5min,
       (select count(*) from actiond.daemon d, clock
         where d.ended_at is null and d.lease_until > clock.at and n.name = any(d.processors))::int as live_daemons,
       b.rate, b.token_in_s, b.breaker, b.probe_in_s, b.failed as breaker_failed, b.outcomes as breaker_outcomes,
       s.flag, coalesce(s.flag_on, true) as flag_on, s."window", s.opens_in_s
  from names n
  left join actiond.processor p on p.name = n.name
  left join actiond.brake_list b on b.processor = n.name
  left join actiond.switch_list s on s.processor = n.name
  left join running r on r.processor = n.name
  left join rates on rates.processor = n.name
 order by n.name
