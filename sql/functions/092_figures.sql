-- Figures: how much, how well, how fast. Never a count of actions: the runs know what they came to, and what ended up to
-- actiond.fold.upto is summed by hour in actiond.run_hour. The rest, about a minute, is read from the runs themselves.

-- Processors of which a run has ended; hops from one to the next in the index.
create or replace function actiond.processors_that_ran() returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive found (name) as (
    (select r.processor from actiond.run r where r.finished_at is not null order by r.processor limit 1)
    union all
    select (select r.processor from actiond.run r
             where r.finished_at is not null and r.processor > f.name order by r.processor limit 1)
      from found f where f.name is not null)
  select f.name from found f where f.name is not null and f.name <> '(void)'
$$;

-- What runs that ended since then came to; from the beginning of that hour (UTC). Several rows for one hour are
-- to be added up.
create or replace function actiond.run_hours(since timestamptz)
returns table (hour timestamptz, processor text, runs bigint, completed bigint, failed bigint, retried bigint,
               deferred bigint, canceled bigint, fenced bigint, returned bigint, waits bigint[], times bigint[])
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select h.hour, h.processor, h.runs, h.completed, h.failed, h.retried, h.deferred, h.canceled, h.fenced, h.returned,
         h.waits, h.times
    from actiond.run_hour h
   where h.hour >= date_trunc('hour', $1, 'UTC')
  union all
  select date_trunc('hour', r.finished_at, 'UTC'), r.processor, 1, r.completed, r.failed, r.retried, r.deferred,
         r.canceled, r.fenced, r.returned, r.waits, r.times
    from actiond.processors_that_ran() as n (name)
   cross join lateral (
     select x.* from actiond.run x
      where x.processor = n.name
        and x.finished_at > (select f.upto from actiond.fold f)
        and x.finished_at >= date_trunc('hour', $1, 'UTC')) r
$$;

create or replace function actiond.added(a bigint[], b bigint[]) returns bigint[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(coalesce(u.a, 0) + coalesce(u.b, 0) order by u.place)
    from unnest($1, $2) with ordinality as u (a, b, place)
$$;

-- From log2 buckets (the first: under 1 ms, then 1 ms, 2 to 3 ms, 4 to 7 ms, ...) the seconds that this share of all
-- stays under; within a bucket as if they were spread evenly, so it is right to within a factor of two.
create or replace function actiond.quantile_s(buckets bigint[], share float8) returns float8
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select (b.low + (b.high - b.low) * (b.rank - b.before) / b.n) / 1000
    from (select u.n, sum(u.n) over (order by u.place) - u.n as before, $2 * sum(u.n) over () as rank,
                 case when u.place = 1 then 0 else 2.0 ^ (u.place - 2) end as low, 2.0 ^ (u.place - 1) as high, u.place
            from unnest($1) with ordinality as u (n, place)) b
   where b.n > 0 and b.before + b.n >= b.rank
   order by b.place limit 1
$$;

-- For each processor what its runs came to since then, in whole hours. Counts are of outcomes, not of actions: one that
-- failed, was retried by hand and completed counts in both. success: completed of completed and failed; wait: due until
-- claimed; time: called until ended.
create or replace function actiond.stats(since interval default '24 hours', processor text default null)
returns table (processor text, runs bigint, completed bigint, failed bigint, canceled bigint, retried bigint,
               deferred bigint, fenced bigint, returned bigint, success float8,
               wait_p50_s float8, wait_p95_s float8, time_p50_s float8, time_p95_s float8)
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with hours as materialized (
    select h.* from actiond.run_hours((select actiond.now() - $1)) h where $2 is null or h.processor = $2),
  sums as (
    select h.processor, sum(h.runs)::bigint as runs, sum(h.completed)::bigint as completed,
           sum(h.failed)::bigint as failed, sum(h.canceled)::bigint as canceled, sum(h.retried)::bigint as retried,
           sum(h.deferred)::bigint as deferred, sum(h.fenced)::bigint as fenced, sum(h.returned)::bigint as returned
      from hours h group by h.processor),
  spread as (
    select h.processor, b.place, coalesce(sum(b.wait), 0)::bigint as waits, coalesce(sum(b.took), 0)::bigint as times
      from hours h cross join lateral unnest(h.waits, h.times) with ordinality as b (wait, took, place)
     group by h.processor, b.place),
  buckets as (
    select s.processor, array_agg(s.waits order by s.place) as waits, array_agg(s.times order by s.place) as times
      from spread s group by s.processor)
  select s.processor, s.runs, s.completed, s.failed, s.canceled, s.retried, s.deferred, s.fenced, s.returned,
         s.completed::float8 / nullif(s.completed + s.failed, 0),
         actiond.quantile_s(b.waits, 0.5), actiond.quantile_s(b.waits, 0.95),
         actiond.quantile_s(b.times, 0.5), actiond.quantile_s(b.times, 0.95)
    from sums s left join buckets b on b.processor = s.processor
   order by s.processor
$$;

-- The last 24 hours.
create or replace view actiond.stats_processor as select s.* from actiond.stats('24 hours') s;

-- Outcomes by hour (UTC) and processor; the last seven days. Hours without any are left out.
create or replace view actiond.throughput as
select h.hour, h.processor, sum(h.runs)::bigint as runs, sum(h.completed)::bigint as completed,
       sum(h.failed)::bigint as failed, sum(h.canceled)::bigint as canceled, sum(h.retried)::bigint as retried,
       sum(h.deferred)::bigint as deferred
  from actiond.run_hours((select actiond.now() - interval '7 days')) h
 group by h.hour, h.processor;

-- How often it takes more than one attempt. attempts, retried, share: since then, in whole hours. The rest is from the
-- latest 10,000 entries of history: how many attempts were retried that were the first, the second, a later one; the
-- action that was tried most often.
create or replace function actiond.retries(since interval default '24 hours', processor text default null)
returns table (processor text, attempts bigint, retried bigint, share float8, after_first bigint, after_second bigint,
               after_later bigint, most_attempts integer, example bigint)
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with sums as (
    select h.processor, sum(h.completed + h.failed + h.retried + h.deferred + h.canceled)::bigint as attempts,
           sum(h.retried)::bigint as retried
      from actiond.run_hours((select actiond.now() - $1)) h
     where $2 is null or h.processor = $2
     group by h.processor),
  latest as materialized (
    select r.processor, l.attempt, l.action_id
      from (select h.event, h.at, h.attempt, h.action_id, h.run_id
              from actiond.history h order by h.id desc limit 10000) l
      join actiond.run r on r.id = l.run_id
     where l.event = 'retried' and l.at >= (select actiond.now() - $1)),
  tried as (
    select l.processor, count(*) filter (where l.attempt = 1) as after_first,
           count(*) filter (where l.attempt = 2) as after_second, count(*) filter (where l.attempt > 2) as after_later,
           max(l.attempt) as most, (array_agg(l.action_id order by l.attempt desc, l.action_id desc))[1] as example
      from latest l group by l.processor)
  select s.processor, s.attempts, s.retried, s.retried::float8 / nullif(s.attempts, 0), coalesce(t.after_first, 0),
         coalesce(t.after_second, 0), coalesce(t.after_later, 0), t.most, t.example
    from sums s left join tried t on t.processor = s.processor
   where s.retried > 0
   order by s.retried desc, s.processor
$$;

-- The last 24 hours.
create or replace view actiond.stats_retries as select r.* from actiond.retries('24 hours') r;
