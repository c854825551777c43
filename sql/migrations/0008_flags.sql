-- Feature flags and windows: when what is there may run.
--
--   flag    a name; while it is off, rows of the processor wait, the schedule does not fire, runs of the plan make no
--           further page. A flag is a row of actiond.setting, 'flag:' and its name, true or false; without one it is off.
--   window  hours in which the processor claims: '22:00-06:00 Europe/Berlin', as daemon/actiond/rules/window.py writes
--           it. The zone is checked by a trigger, see sql/functions/067_windows.sql.
alter table actiond.processor
  add column flag     text,                              -- 'none' overrides what the code declares
  add column "window" text,                              -- the same
  add constraint flag_is_a_name check (flag ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$'),
  add constraint window_is_hours_and_a_zone check ("window" ~ (
    '^(none|(((Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))? )?'
    '([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)(, |(?= [A-Za-z])))+ [A-Za-z][^ ,]*)$'));

alter table actiond.schedule
  add column flag text,
  add constraint flag_is_a_name check (flag ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' and flag <> 'none');

alter table actiond.plan
  add column flag text,
  add constraint flag_is_a_name check (flag ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' and flag <> 'none');

alter table actiond.setting
  add constraint a_flag_has_a_name_and_is_on_or_off
    check (name !~ '^flag:' or name ~ '^flag:[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' and name <> 'flag:none'
                               and jsonb_typeof(value) = 'boolean');
