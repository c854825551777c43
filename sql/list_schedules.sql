-- list_schedules: the schedules, or those of one name, or one.
--   $1 name text, or NULL, $2 processor text, or NULL
--   returns the columns of actiond.schedule (data as text), shown text (data as people may see them), now, here boolean
--     (this is one of its environments), flag_on boolean, known boolean (the processor is), open boolean (its last action is)
--   called by: schedule_edit.schedules
select s.name, s.processor, s.cron, s.every, s.timezone, s.starts_at, s.data::text as data, s.related, s.priority,
       coalesce((select actiond.redacted(s.data, p.redact) from actiond.processor p
                  where p.name = s.processor and p.redact <> '{}'), s.data)::text as shown,
       s.enabled, s.name_enabled, s.missed, s.grace, s.overlap, s.environments, s.flag, actiond.flag_on(s.flag) as flag_on, s.since, s.next_at, s.last_at,
       s.last_action, s.fired, s.missed_slots, s.overlapped, s.error, s.edition, s.updated_at, s.updated_by,
       n.at as now,
       s.environments is null or coalesce(e.name = any(s.environments), false) as here,
       exists (select from actiond.processor p where p.name = s.processor) as known,
       exists (select from actiond.action a where a.id = s.last_action and a.status in ('pending', 'held')) as open
  from actiond.schedule s,
       (select actiond.now() as at) n,
       (select (select v.value #>> '{}' from actiond.setting v where v.name = 'environment') as name) e
 where ($1::text is null or s.name = $1) and ($2::text is null or s.processor = $2)
 order by s.name, s.processor
