-- due_schedules: the schedules whose slot is due or not yet computed, what time it is, and when the next one is due.
--
-- Those in trouble come last, so that a page full of them holds up no other. That this daemon looked is kept.
--   $1 daemon int, $2 limit int
--   returns at least one row; name NULL = nothing is due. now, next_in_s float8 (NULL = nothing is planned), then
--     the columns of actiond.schedule (data as text), and here boolean (this is one of its environments)
--   called by: schedule_store.due
with clock as materialized (select actiond.now() as at),
ticked as (update actiond.daemon d set ticked_at = clock.at from clock where d.id = $1),
environment as materialized (
  select (select s.value #>> '{}' from actiond.setting s where s.name = 'environment') as name),
planned as materialized (
  select extract(epoch from min(s.next_at) - clock.at)::float8 as in_s
    from clock left join actiond.schedule s on s.enabled and s.name_enabled and (s.flag is null or actiond.flag_on(s.flag))
                                                         and s.next_at > clock.at
   group by clock.at)
select clock.at as now, planned.in_s as next_in_s, d.name, d.processor, d.edition, d.cron, d.every, d.timezone,
       d.starts_at, d.since, d.next_at, d.data::text as data, d.related, d.missed, d.grace, d.error,
       coalesce(d.environments is null or environment.name = any(d.environments), false) as here
  from clock cross join planned cross join environment
  left join lateral (
    select s.* from actiond.schedule s
     where s.enabled and s.name_enabled and (s.flag is null or actiond.flag_on(s.flag)) and (s.next_at is null or s.next_at <= clock.at)
     order by s.error is not null, s.next_at nulls first, s.name, s.processor
     limit $2) d on true
