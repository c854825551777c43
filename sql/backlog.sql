-- backlog: what waits and what has failed, for processors that a daemon shows in its metrics.
--
-- Counting stops at $2. What is counted is ordered as its index is: without that Postgres takes a limit for a reason
-- to begin at the front of the table.
--   $1 processors text[], $2 count at most int
--   returns one row a processor: processor, waiting int (due and unclaimed), oldest_s float8 (0 = none is due),
--     scheduled int (due later), failed int
--   called by: backlog_store.count
with clock as materialized (select actiond.now() as at)
select n.name as processor,
       (select count(*) from (
          select from unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
            select from actiond.action a
             where a.processor = n.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
               and a.next_eligible_at <= (select c.at from clock c)
             order by a.next_eligible_at limit $2) x limit $2) y)::int as waiting,
       coalesce((select max(extract(epoch from clock.at - x.next_eligible_at))
          from clock, unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
          select a.next_eligible_at from actiond.action a
           where a.processor = n.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
             and a.next_eligible_at <= (select c.at from clock c) order by a.next_eligible_at limit 1) x), 0)::float8 as oldest_s,
       (select count(*) from (
          select from unnest('{0,1,2,3}'::int2[]) l (level) cross join lateral (
            select from actiond.action a
             where a.processor = n.name and a.priority = l.level and a.status = 'pending'
               and a.next_eligible_at > (select c.at from clock c)
             order by a.next_eligible_at limit $2) x limit $2) y)::int as scheduled,
       (select count(*) from (
          select from actiond.action a where a.processor = n.name and a.status = 'failed'
           order by a.finished_at limit $2) x)::int as failed
  from unnest($1::text[]) as n (name)
