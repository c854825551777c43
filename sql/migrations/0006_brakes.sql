-- Brakes: a rate and a breaker for each processor, over all daemons.
--
--   rate    rows that may be claimed in a time: '100/min'. A bucket of tokens, see daemon/actiond/rules/rate.py
--   breaker the share of failures among the latest outcomes that makes its rows wait, see rules/breaker.py
--
-- The state stands apart from the policy: it is written at claims and outcomes, the policy by people, and a change of
-- the policy is told to every daemon. A processor without both has no row here and pays nothing.
alter table actiond.processor
  add column rate              text,             -- 'none' overrides what the code declares
  add column burst             integer,
  add column breaker           double precision, -- 0: none
  add column breaker_outcomes  integer,
  add column breaker_pause     interval,
  add column breaker_max_pause interval,
  add constraint rate_is_a_count_in_a_time
    check (rate ~ '^(none|[1-9][0-9]{0,6}/([1-9][0-9]{0,4} )?(s|min|h|d))$'),
  add constraint burst_is_1_to_1000000          check (burst between 1 and 1000000),
  add constraint breaker_is_a_share             check (breaker between 0 and 1),
  add constraint breaker_outcomes_is_1_to_1000  check (breaker_outcomes between 1 and 1000),
  add constraint breaker_pause_is_positive      check (breaker_pause > interval '0'),
  add constraint breaker_max_pause_is_positive  check (breaker_max_pause > interval '0');

create table actiond.brake (
  processor     text        primary key,         -- no foreign key: a daemon serves a processor whose row was deleted, too
  tokens        double precision,                -- in the bucket of the rate, at that time; NULL = full
  tokens_at     timestamptz,
  recent        text        not null default '', -- the latest outcomes, oldest first: + and -; of an open breaker, those that opened it
  opened_at     timestamptz,
  open_until    timestamptz,                     -- NULL = closed; from then on a probe may be claimed
  failed_probes integer     not null default 0,
  probe_run     bigint,                          -- the run of the probe, until its outcome is heard
  constraint recent_is_of_signs        check (recent ~ '^[+-]*$'),
  constraint opened_is_open_until_when check ((opened_at is null) = (open_until is null))
) with (fillfactor = 50);
