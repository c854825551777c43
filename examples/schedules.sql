-- Schedules in plain SQL: what one writes into a migration of one's own. `actiond schedule ls` shows them.

-- Every night at 02:30 in Berlin: one action. If nobody was up at that time, it is made up for when somebody is.
insert into actiond.schedule (name, processor, cron, timezone, data)
values ('nightly report', 'report', '30 2 * * *', 'Europe/Berlin', '{"day": "{slot}"}');

-- An action for every hour, also for those in which nothing was up, if they are at most two days gone.
insert into actiond.schedule (name, processor, cron, data, missed, grace, overlap)
values ('hourly import', 'import_hour', '@hourly', '{"hour": "{slot}"}', 'all', '2 days', 'allow');

-- No data: wake a processor that collects rows and runs only when woken.
insert into actiond.schedule (name, processor, every, environments)
values ('send mails', 'digest', '15 minutes', '{production}');
