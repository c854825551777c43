-- Schedules: when to wake a processor, or to insert an action for it. A row is (name, processor).
--
-- The row is the whole schedule: nothing is registered anywhere else. What is due next stands in next_at; a daemon
-- computes it (cron is read in Python, see daemon/actiond/rules/cron.py), and moves it on and inserts in one
-- statement, so a slot fires once however many daemons look. NULL = not computed yet.
--
-- `edition` goes up with every edit: a daemon that computed from what stood here before does not fire.
create table actiond.schedule (
  name         text        not null,
  processor    text        not null,
  cron         text,                                     -- 5 or 6 fields, ? for *, @daily and the like
  every        interval,                                 -- or an interval, counted from starts_at
  timezone     text        not null default 'UTC',       -- IANA
  starts_at    timestamptz not null default pg_catalog.now(),  -- no slot is before this
  data         jsonb,                                    -- NULL = wake the processor; else insert an action with this
  related      text,
  priority     smallint    not null default 2,
  enabled      boolean     not null default true,        -- this row
  name_enabled boolean     not null default true,        -- all rows of this name: a trigger keeps them the same
  missed       text        not null default 'once',      -- slots for which no daemon was up
  grace        interval,                                 -- how late a slot may fire; NULL: once any, skip 1 min, all 1 day
  overlap      text        not null default 'skip',      -- while the last action is open: insert none, or another
  environments text[],                                   -- only where the setting `environment` is one of these
  -- From here on: what daemons and triggers write.
  since        timestamptz not null default pg_catalog.now(),  -- slots count from here: last edit, last switching on
  next_at      timestamptz,
  last_at      timestamptz,                              -- the slot that fired last
  last_action  bigint,
  fired        bigint      not null default 0,
  missed_slots bigint      not null default 0,           -- did not fire: nobody was up in time
  overlapped   bigint      not null default 0,           -- did not fire: the last action was still open
  error        text,                                     -- why nothing fires
  edition      integer     not null default 1,
  updated_at   timestamptz not null default pg_catalog.now(),
  updated_by   text        not null default session_user,
  primary key (name, processor),
  constraint name_is_1_to_255_characters      check (length(name) between 1 and 255),
  constraint processor_is_1_to_255_characters check (length(processor) between 1 and 255 and processor !~ '[,\s]'),
  constraint either_cron_or_every             check (num_nonnulls(cron, every) = 1),
  constraint cron_is_at_most_255_characters   check (length(cron) <= 255),
  constraint every_is_1_second_to_366_days    check (every between interval '1 second' and interval '366 days'),
  constraint every_counts_no_months           check (extract(year from every) = 0 and extract(month from every) = 0),
  constraint priority_is_0_to_3               check (priority between 0 and 3),
  constraint missed_is_once_skip_or_all       check (missed in ('once', 'skip', 'all')),
  constraint overlap_is_skip_or_allow         check (overlap in ('skip', 'allow')),
  constraint grace_is_not_negative            check (grace >= interval '0'),
  constraint a_wake_is_about_no_record        check (data is not null or related is null),
  constraint data_is_at_most_256_kib          check (pg_column_size(data) <= 262144),
  constraint related_is_at_most_1000_characters check (length(related) <= 1000),
  constraint error_is_at_most_1000_characters   check (length(error) <= 1000),
  constraint times_are_between_2000_and_2200
    check (starts_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'
           and next_at between '2000-01-01 00:00+00' and '2300-01-01 00:00+00')
) with (fillfactor = 50);

alter table actiond.daemon add column ticked_at timestamptz;  -- when it last looked for schedules that are due
