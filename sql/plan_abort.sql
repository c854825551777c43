-- plan_abort: cancel some of the actions of a run that are open, in id order.
--   $1 run bigint, $2 at most int
--   returns n bigint
--   called by: plan
with open as (
  select a.id from actiond.action a
   where a.parent_id = $1 and a.status in ('pending', 'held') order by a.id limit $2 for no key update),
canceled as (
  update actiond.action a set status = 'canceled' from open o
   where a.id = o.id and a.status in ('pending', 'held') returning 1)
select count(*) as n from canceled
