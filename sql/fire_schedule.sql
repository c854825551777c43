-- fire_schedule: move a schedule on to its next slot and do what the slot asks for, in one statement: both or neither.
--
-- Only where the row still is what the caller computed from: same edition, same next_at. So of many daemons one fires,
-- and an edit is never overtaken by what stood there before. A row that somebody has locked is left for later.
--   $1 name text, $2 processor text, $3 edition int, $4 the next_at it has (NULL = not computed yet),
--   $5 the next_at it gets timestamptz (NULL = none), $6 the slot that fires timestamptz (NULL = none does),
--   $7 data text (JSON; NULL = a wake), $8 related text, $9 slots that were missed int,
--   $10 by hand boolean: also when it or its flag is off, also while the last action is open; counts as an edit
--   returns a row if it was done, else none: fired boolean (false: nothing to fire, or the last action is still open),
--     action_id bigint (NULL = a wake, or not fired), open bigint (that last action), late_s float8
--   called by: schedule_store.fire, schedule_edit.run_now
with clock as materialized (select actiond.now() as at),
item as materialized (
  select s.name, s.processor, s.data is not null as inserts, s.priority, s.overlap, s.last_action
    from actiond.schedule s
   where s.name = $1 and s.processor = $2 and s.edition = $3 and s.next_at is not distinct from $4
     and ($10::boolean or s.enabled and s.name_enabled and actiond.flag_on(s.flag))
     for no key update skip locked),
busy as materialized (
  select a.id from item i join actiond.action a on a.id = i.last_action
   where i.inserts and i.overlap = 'skip' and a.status in ('pending', 'held') and not $10),
fires as materialized (
  select i.processor, i.priority, i.inserts from item i where $6::timestamptz is not null and not exists (select from busy)),
inserted as (
  insert into actiond.action (processor, data, related, priority, next_eligible_at)
  select f.processor, $7::text::jsonb, $8::text, f.priority, clock.at from fires f, clock where f.inserts
  returning id),
woken as materialized (select actiond.wake(f.processor) from fires f where not f.inserts),
moved as (
  update actiond.schedule s
     set next_at = $5, last_at = case when f.processor is not null then $6 else s.last_at end,
         last_action = coalesce((select n.id from inserted n), s.last_action),
         fired = s.fired + (f.processor is not null)::int, missed_slots = s.missed_slots + $9::int,
         overlapped = s.overlapped + (f.processor is null and $6 is not null)::int,
         error = null, edition = s.edition + $10::int
    from item i left join fires f on true
   where s.name = i.name and s.processor = i.processor
  returning f.processor is not null as fired)
select m.fired, (select n.id from inserted n) as action_id, (select b.id from busy b) as open,
       extract(epoch from clock.at - $6)::float8 as late_s, (select count(*) from woken)::int as woken
  from moved m, clock
