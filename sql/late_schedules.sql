-- late_schedules: schedules that should have fired and did not, and those that cannot.
--   $1 how late counts float8 (seconds)
--   returns name, processor, error text, late_s float8
--   called by: read.status
select s.name, s.processor, s.error, extract(epoch from n.at - s.next_at)::float8 as late_s
  from actiond.schedule s, (select actiond.now() as at) n
 where s.enabled and s.name_enabled and (s.flag is null or actiond.flag_on(s.flag))
   and (s.error is not null or coalesce(s.next_at, s.updated_at) < n.at - $1::float8 * interval '1 second')
 order by s.name, s.processor
 limit 20
