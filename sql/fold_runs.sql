-- fold_runs: add the runs that ended since the last time to their hours. Off the route of every action.
--
-- Exactly once: whoever holds the one row of actiond.fold moves it and adds in one statement; another daemon skips.
-- A run that has ended never changes. The first $2 decide how far this goes; then all until there, because runs
-- that one statement ended have the same time.
--   $1 upto timestamptz (see fold_until), $2 runs at most int (for each processor)
--   returns folded int, upto timestamptz: how far it came; no row = another daemon is at it
--   called by: run_store.fold
with mark as materialized (
  select f.upto from actiond.fold f where f.upto < $1 for update skip locked),
names as materialized (select n.name from mark cross join actiond.processors_that_ran() as n (name)),
goal as materialized (
  select least($1, min(x.finished_at)) as upto
    from mark cross join names n
   cross join lateral (
     select r.finished_at from actiond.run r
      where r.processor = n.name and r.finished_at > mark.upto and r.finished_at <= $1
      order by r.finished_at offset $2 limit 1) x),
ended as materialized (
  select date_trunc('hour', r.finished_at, 'UTC') as hour, r.*
    from mark cross join goal cross join names n
   cross join lateral (
     select x.processor, x.finished_at, x.completed, x.failed, x.retried, x.deferred, x.canceled, x.fenced, x.returned,
            x.waits, x.times
       from actiond.run x
      where x.processor = n.name and x.finished_at > mark.upto and x.finished_at <= goal.upto) r),
sums as (
  select e.hour, e.processor, count(*) as runs, sum(e.completed) as completed, sum(e.failed) as failed,
         sum(e.retried) as retried, sum(e.deferred) as deferred, sum(e.canceled) as canceled, sum(e.fenced) as fenced,
         sum(e.returned) as returned
    from ended e group by e.hour, e.processor),
spread as (
  select e.hour, e.processor, b.place, sum(b.wait) as wait, sum(b.took) as took
    from ended e cross join lateral unnest(e.waits, e.times) with ordinality as b (wait, took, place)
   group by e.hour, e.processor, b.place),
buckets as (
  select s.hour, s.processor,
         array_agg(coalesce(p.wait, 0)::bigint order by place) as waits,
         array_agg(coalesce(p.took, 0)::bigint order by place) as times
    from sums s cross join generate_series(1, 32) as place
    left join spread p using (hour, processor, place)
   group by s.hour, s.processor),
added as (
  insert into actiond.run_hour as h (hour, processor, runs, completed, failed, retried, deferred, canceled, fenced,
                                     returned, waits, times)
  select s.hour, s.processor, s.runs, s.completed, s.failed, s.retried, s.deferred, s.canceled, s.fenced, s.returned,
         b.waits, b.times
    from sums s join buckets b on b.hour = s.hour and b.processor = s.processor
      on conflict (hour, processor) do update
     set runs = h.runs + excluded.runs, completed = h.completed + excluded.completed,
         failed = h.failed + excluded.failed, retried = h.retried + excluded.retried,
         deferred = h.deferred + excluded.deferred, canceled = h.canceled + excluded.canceled,
         fenced = h.fenced + excluded.fenced, returned = h.returned + excluded.returned,
         waits = actiond.added(h.waits, excluded.waits), times = actiond.added(h.times, excluded.times)),
moved as (
  update actiond.fold f set upto = goal.upto from mark, goal where f.one returning f.upto)
select (select count(*) from ended)::int as folded, m.upto from moved m
