-- torture_slots: did each slot of the schedule fire once?
--   no parameters
--   returns fired bigint (as the schedule counts), inserted bigint (actions), slots bigint (different ones among them),
--     grid bigint (slots of its grid from its first to its last), missed bigint (as it counts), lost text (one of them)
--   called by: torture/ledger
with there as materialized (
  select (a.data ->> 'slot')::timestamptz as at from actiond.action a where a.data ? 'slot'),
grid as (
  select g.at from actiond.schedule s,
         generate_series((select min(t.at) from there t), s.last_at, s.every) as g (at))
select s.fired, (select count(*) from there) as inserted, (select count(distinct t.at) from there t) as slots,
       (select count(*) from grid) as grid, s.missed_slots as missed,
       (select min(g.at)::text from grid g where not exists (
         select from there t where t.at between g.at - s.every / 2 and g.at + s.every / 2)) as lost
  from actiond.schedule s
