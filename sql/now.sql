-- now: what time it is here.
--   no parameters
--   returns now timestamptz
--   called by: schedule_edit.now
select actiond.now() as now
