-- remove_schedules: the schedules of a name, or the one for a processor. What they inserted stays.
--   $1 name text, $2 processor text, or NULL
--   returns processor text, a row for each that is gone
--   called by: schedule_edit.remove
delete from actiond.schedule s where s.name = $1 and ($2::text is null or s.processor = $2) returning s.processor
