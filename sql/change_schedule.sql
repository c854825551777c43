-- change_schedule: other values for a schedule, if nobody has changed it meanwhile.
--   $1 name text, $2 processor text, $3 cron text, $4 every interval, $5 timezone text, $6 starts at timestamptz,
--   $7 data text (JSON), $8 related text, $9 priority int2, $10 missed text, $11 grace interval, $12 overlap text,
--   $13 environments text[], $14 enabled boolean, $15 flag text, $16 the edition it has int
--   returns edition int; no row if it is another one by now
--   called by: schedule_edit.change
update actiond.schedule s
   set cron = $3, every = $4, timezone = $5, starts_at = $6, data = $7::text::jsonb, related = $8, priority = $9,
       missed = $10, grace = $11, overlap = $12, environments = $13, enabled = $14, flag = $15
 where s.name = $1 and s.processor = $2 and s.edition = $16
returning edition
