-- release: who waited for actions that have ended?
--
-- A statement of its own, after the outcomes have committed. Inside their transaction the last two children of a
-- parent would each still see the other one open, and nobody would release it. After it, whichever commits last
-- sees both ended. Both may see it: the second finds the row held no more.
-- A row that somebody holds locked is skipped: that is another release, or a person; the sweep comes by again.
--   $1 ids of actions that have ended bigint[], $2 ids of actions that wait bigint[]
--   returns id bigint, status text: pending (it runs again) or canceled (what it waited for cannot come any more)
--   called by: family_store.release
with maybe as materialized (
  select e.parent_id as id from actiond.action e where e.id = any($1::bigint[]) and e.parent_id is not null
  union
  select w.id from actiond.action w where w.waits_on = any($1::bigint[])
  union
  select unnest($2::bigint[])),
over as materialized (
  select w.id, w.waits_for, w.waits_on, o.status as ended,
         case when w.waits_for = 'children' or w.waits_for = 'end' then 'pending'
              when w.waits_for = 'success' and o.status = 'completed' then 'pending'
              when w.waits_for = 'failure' and o.status in ('failed', 'canceled') then 'pending'
              else 'canceled' end as becomes
    from actiond.action w
    left join actiond.action o on o.id = w.waits_on
   where w.id in (select m.id from maybe m) and w.waits_for is not null and w.status = 'held'
     and case when w.waits_for = 'children'
              then not exists (select from actiond.action c where c.parent_id = w.id and c.status in ('pending', 'held'))
              else o.id is null or o.status in ('completed', 'failed', 'canceled') end
   order by w.id
     for no key update of w skip locked),
freed as (
  update actiond.action a
     set status = o.becomes, waits_for = null, waits_on = null,
         error = case when o.becomes = 'canceled'
                      then 'action ' || o.waits_on || ' ' || coalesce(o.ended, 'was deleted') || ', this waited for its '
                           || o.waits_for
                      else a.error end
    from over o where a.id = o.id and a.waits_for is not null
  returning a.id, a.status)
select f.id, f.status from freed f
