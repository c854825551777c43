-- switch_schedules: one row of a name on or off, or the whole name.
--   $1 name text, $2 processor text (NULL = the switch of the whole name), $3 on boolean
--   returns processor text, a row for each schedule it is about
--   called by: schedule_edit.switch
update actiond.schedule s
   set enabled = case when $2::text is null then s.enabled else $3 end,
       name_enabled = case when $2::text is null then $3 else s.name_enabled end
 where s.name = $1 and ($2::text is null or s.processor = $2::text)
returning s.processor
