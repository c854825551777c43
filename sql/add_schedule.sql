-- add_schedule: a new schedule.
--   $1 name text, $2 processor text, $3 cron text, $4 every interval, $5 timezone text, $6 starts at timestamptz
--   (NULL = now), $7 data text (JSON), $8 related text, $9 priority int2, $10 missed text, $11 grace interval,
--   $12 overlap text, $13 environments text[], $14 enabled boolean,
--   $15 flag text
--   returns edition int; no row if there is one of this name for this processor
--   called by: schedule_edit.add
insert into actiond.schedule (name, processor, cron, every, timezone, starts_at, data, related, priority, missed, grace,
                              overlap, environments, enabled, flag)
values ($1, $2, $3, $4, $5, coalesce($6::timestamptz, actiond.now()), $7::text::jsonb, $8, $9, $10, $11, $12, $13, $14, $15)
on conflict do nothing
returning edition
