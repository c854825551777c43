-- The core: what is asked for, who runs it, what became of it.
--
--   action     one piece of work and its record        (design: one table, finished rows stay)
--   processor  a named piece of code and its policy    (declared by the code, overridden by an operator)
--   daemon     one running process                     (a new id at every start, never reused)
--   run        one batch: opened by the claim, closed by its last outcome; its id is the fence
--   history    append-only: what a row forgets
--   setting    switches and settings of the whole installation
--
-- Functions and triggers live in sql/functions and are applied again whenever their text changes.
--
-- The claim is a HOT update: claimed_by, run_id, started_at and attempts stand in no index, no index
-- predicate and no index expression. A test holds that; it is worth a factor of two.

create table actiond.daemon (
  id            integer     generated always as identity primary key,
  host          text        not null default '',
  pid           integer     not null default 0,
  version       text        not null default '',
  processors    text[]      not null default '{}',
  started_at    timestamptz not null default pg_catalog.clock_timestamp(),
  seen_at       timestamptz not null default pg_catalog.clock_timestamp(),  -- written every second
  lease_until   timestamptz not null,                                       -- frozen or cut off beyond this: dead
  ended_at      timestamptz,                                                -- stopped, or declared dead
  ended         text,
  locks         boolean     not null default true,  -- holds a liveness lock; else only the lease tells that it died
  constraint ended_is_stopped_or_died check (ended in ('stopped', 'died') and ended_at is not null or ended is null)
) with (fillfactor = 50);
create index daemon_alive on actiond.daemon (id) where ended_at is null;

create table actiond.processor (
  name               text primary key,
  declared           jsonb       not null default '{}',  -- what the code says, written at every start of a daemon
  built_in           jsonb       not null default '{}',  -- what holds where neither the code nor an operator says
  payload            jsonb,                              -- JSON schema of its payloads, from the code; NULL = any JSON
  redact             text[]      not null default '{}',  -- fields of payloads that are not shown, from the code; lower case
  uses               text,                               -- a built-in this processor is made of (no Python of its own)
  -- An operator's overrides. NULL = as declared; see the view actiond.processor_policy.
  enabled            boolean,
  batch_size         integer,
  concurrency        integer,
  global_concurrency integer,
  retries            integer,
  retry_interval     interval,
  backoff            text,
  retry_max_interval interval,
  timeout            interval,
  start_delay        interval,
  run_on_insert      boolean,
  history            text,
  config             jsonb,
  woken_at           timestamptz,                        -- the stored wake of a processor with run_on_insert off
  updated_at         timestamptz not null default pg_catalog.now(),
  constraint name_is_1_to_255_characters   check (length(name) between 1 and 255 and name !~ '[,\s]'),
  constraint batch_size_is_1_to_10000      check (batch_size between 1 and 10000),
  constraint concurrency_is_1_to_1000      check (concurrency between 1 and 1000),
  constraint global_concurrency_positive   check (global_concurrency >= 1),
  constraint retries_is_not_negative       check (retries >= 0),
  constraint retry_interval_not_negative   check (retry_interval >= interval '0'),
  constraint retry_max_interval_positive   check (retry_max_interval > interval '0'),
  constraint timeout_is_positive           check (timeout > interval '0'),
  constraint start_delay_is_not_negative   check (start_delay >= interval '0'),
  constraint backoff_is_fixed_or_exponential check (backoff in ('fixed', 'exponential')),
  constraint history_is_all_changes_or_none  check (history in ('all', 'changes', 'none')),
  constraint config_is_an_object             check (jsonb_typeof(config) = 'object')
);

create sequence actiond.run_id_seq as bigint cache 1;

create table actiond.run (
  id          bigint      primary key,                   -- drawn before the claim, so that a lost answer is decidable
  processor   text        not null,
  daemon      integer     not null,
  actions     bigint[]    not null,
  started_at  timestamptz not null,
  finished_at timestamptz,
  completed   integer     not null default 0,
  failed      integer     not null default 0,
  retried     integer     not null default 0,
  deferred    integer     not null default 0,
  canceled    integer     not null default 0,
  fenced      integer     not null default 0,            -- outcomes that came too late
  returned    integer     not null default 0,            -- given back or rescued
  waits       integer[],                                 -- log2 buckets, milliseconds: due until claimed
  times       integer[]                                  -- log2 buckets, milliseconds: called until ended
) with (fillfactor = 70);
alter table actiond.run alter column actions set storage external;  -- compressing 4 kB of ids costs more than it saves
create index run_open on actiond.run (daemon) where finished_at is null;
create index run_ended on actiond.run (processor, finished_at) where finished_at is not null;

-- What the runs came to, by hour of their end, so that figures of a week need no run rows. A daemon adds the runs that
-- ended since fold.upto, twice a minute (sql/fold_runs.sql); readers add what is newer themselves (actiond.run_hours).
create table actiond.run_hour (
  hour      timestamptz not null,
  processor text        not null,
  runs      bigint      not null,
  completed bigint      not null,
  failed    bigint      not null,
  retried   bigint      not null,
  deferred  bigint      not null,
  canceled  bigint      not null,
  fenced    bigint      not null,
  returned  bigint      not null,
  waits     bigint[]    not null,                        -- all 32 buckets
  times     bigint[]    not null,
  primary key (hour, processor)
) with (fillfactor = 70);
create table actiond.fold (
  one  boolean     primary key default true,
  upto timestamptz not null,                             -- runs that ended until then are in run_hour, no others
  constraint there_is_only_one check (one)
);
insert into actiond.fold (upto) values ('-infinity');

create table actiond.action (
  id               bigint      generated always as identity primary key,
  next_eligible_at timestamptz not null default pg_catalog.now(),   -- replaced by actiond.now(), see sql/functions
  created_at       timestamptz not null default pg_catalog.now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  run_id           bigint      not null default 0,                  -- the fence
  claimed_by       integer     not null default 0,                  -- daemon; 0 = nobody
  attempts         integer     not null default 0,                  -- +1 at the claim
  retries_left     integer,                                         -- NULL = the processor's, resolved when first charged
  crashes          smallint    not null default 0,                  -- daemons that died on it
  priority         smallint    not null default 2,
  processor        text        not null,
  status           text        not null default 'pending',
  related          text,
  created_by       text        not null default session_user,
  data             jsonb       not null default '{}',
  error            text,
  result           jsonb,
  state            jsonb,
  trace            text,                                            -- the producer's span: W3C traceparent
  constraint processor_is_named          check (processor <> '' and length(processor) <= 255),
  constraint status_is_known             check (status in ('pending', 'held', 'completed', 'failed', 'canceled')),
  constraint priority_is_0_to_3          check (priority between 0 and 3),
  constraint retries_left_not_negative   check (retries_left >= 0),
  -- A time outside these years cannot be read back by every client; one such row would strand a claimed batch.
  constraint next_eligible_at_is_between_2000_and_2200
    check (next_eligible_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'),
  -- pg_column_size, not the length of the text: it costs nothing at the updates that follow.
  constraint data_is_at_most_256_kib     check (pg_column_size(data) <= 262144),
  constraint result_is_at_most_256_kib   check (pg_column_size(result) <= 262144),
  constraint state_is_at_most_256_kib    check (pg_column_size(state) <= 262144),
  constraint related_is_at_most_1000_characters check (length(related) <= 1000),
  constraint error_is_at_most_1000_characters   check (length(error) <= 1000),
  -- Version, trace, span, flags. Nothing else may travel in it: it is handed on to other systems.
  constraint trace_is_a_w3c_traceparent         check (trace ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
) with (
  fillfactor = 45,                        -- a page must hold a second copy of every row: the claimed one
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.05
);
create index action_due     on actiond.action (processor, priority, next_eligible_at, id) where status = 'pending';
create index action_related on actiond.action (related, id) where related is not null;
create index action_failed  on actiond.action (processor, finished_at) where status = 'failed';
-- For people: the latest failures of all processors, lists of what is rare, and what was made since.
create index action_failed_at on actiond.action (finished_at) where status = 'failed';
create index action_set_aside on actiond.action (status, id) where status in ('held', 'failed', 'canceled');
create index action_created  on actiond.action using brin (created_at) with (pages_per_range = 32, autosummarize = on);

-- About an action; or about a processor; or, where both are NULL, about the whole installation.
create table actiond.history (
  id        bigint      generated always as identity primary key,
  action_id bigint,                           -- no foreign key: a lock on the action would deadlock the outcomes
  processor text,
  at        timestamptz not null default pg_catalog.clock_timestamp(),
  event     text        not null,
  run_id    bigint,
  attempt   integer,
  by        text        not null default session_user,
  detail    text,                             -- the full error text, what was edited
  -- What a person did, and why.
  verb      text,                             -- NULL: a plain UPDATE
  verb_id   bigint,                           -- the bulk verb (an action) that this was a part of
  reason    text,
  before    jsonb,                            -- what changed: old values
  after     jsonb,                            -- and new ones
  constraint event_is_known check (event in
    ('completed', 'failed', 'retried', 'deferred', 'canceled', 'held', 'released', 'rescheduled', 'crashed', 'fenced',
     'paused', 'resumed', 'set', 'repeated')),
  constraint about_an_action_or_a_processor check (action_id is null or processor is null)
);
create index history_action    on actiond.history (action_id, id);
create index history_verb      on actiond.history (verb_id, action_id) where verb_id is not null;
create index history_processor on actiond.history (processor, id) where action_id is null;

create table actiond.setting (
  name       text primary key,
  value      jsonb       not null,
  updated_at timestamptz not null default pg_catalog.now(),
  updated_by text        not null default session_user
);
