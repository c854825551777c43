-- next_due: how long until the next row of a processor is due.
--
-- Looks back one second: a row that fell due after the claim that found nothing would be slept over.
--   $1 processor text
--   returns due_in_s float8: seconds; NULL = nothing is scheduled
--   called by: action_store.next_due_s
with clock as materialized (select actiond.now() as at)
select min(case when x.next_eligible_at > clock.at then extract(epoch from x.next_eligible_at - clock.at) else 0.01 end)::float8
         as due_in_s
  from clock
 cross join unnest('{0,1,2,3}'::int2[]) as l (level)
 cross join lateral (
   select a.next_eligible_at
     from actiond.action a
    where a.processor = $1 and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
      and a.next_eligible_at > (select c.at - interval '1 second' from clock c)
    order by a.next_eligible_at, a.id
    limit 1) x
