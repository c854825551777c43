-- Plans: mass actions. A query, how its rows become actions, and of which processor.
--
-- A run of a plan is an action of the built-in processor actiond.plan, with {"plan": "name"} as its data; the actions it
-- makes are its children, so progress, cancel and totals are those of any family. A page of rows and how far the run has
-- come commit together: a daemon that dies leaves neither gaps nor doubles.
--
-- The source is run with the rights of the daemon, so who writes a plan can do what a daemon can: see deploy/roles.sql.
-- `edition` goes up with every edit: a run that began with another one says so and ends.
create table actiond.plan (
  name             text        primary key,
  description      text,
  source           text        not null,                 -- a query, or the name of a table or view
  key              text,                                 -- its column: read in pages, by it; NULL: all in one transaction
  processor        text        not null,
  mapping          jsonb,                                -- {"target": "column" or {"const": value}}; NULL: by name
  page             integer     not null default 5000,    -- rows in one transaction
  enabled          boolean     not null default true,
  overlap          text        not null default 'skip',  -- while another run of it is open: cancel itself, or run too
  abort_percent    real,                                 -- more failures than this, and the rest is canceled
  then_plan        text,                                 -- run that one afterwards,
  then_on          text        not null default 'always',  -- when all completed, when some did not, in any case
  notify           text        not null default 'never', -- a report, by NOTIFY actiond_events
  notify_processor text,                                 -- and as an action of this processor: e-mail, http, your own
  -- From here on: what runs and triggers write.
  last_run         bigint,
  last_run_at      timestamptz,                          -- when it ended
  last_run_clean   boolean,                              -- did every action complete?
  edition          integer     not null default 1,
  updated_at       timestamptz not null default pg_catalog.now(),
  updated_by       text        not null default session_user,
  constraint name_is_1_to_255_characters      check (length(name) between 1 and 255),
  constraint source_is_1_to_100000_characters check (length(source) between 1 and 100000),
  constraint key_is_not_empty                 check (key <> ''),
  constraint processor_is_1_to_255_characters check (length(processor) between 1 and 255 and processor !~ '[,\s]'),
  constraint mapping_is_an_object             check (jsonb_typeof(mapping) = 'object'),
  constraint page_is_1_to_100000              check (page between 1 and 100000),
  constraint overlap_is_skip_or_allow         check (overlap in ('skip', 'allow')),
  constraint abort_percent_is_0_to_100        check (abort_percent >= 0 and abort_percent < 100),
  constraint then_on_is_success_errors_or_always check (then_on in ('success', 'errors', 'always')),
  constraint a_plan_does_not_follow_itself    check (then_plan <> name),
  constraint notify_is_never_errors_rows_or_always check (notify in ('never', 'errors', 'rows', 'always')),
  constraint notify_processor_is_a_name       check (length(notify_processor) between 1 and 255 and notify_processor !~ '[,\s]')
) with (fillfactor = 50);

-- The runs of a plan.
create index action_plan_run on actiond.action ((data ->> 'plan'), id) where processor = 'actiond.plan';
