-- fold_until: until when all runs that ended are there to be seen, so that none is folded too early or missed.
--
-- A run carries the time at which the statement that ended it began, and is seen when that has committed. A statement
-- of a daemon takes 9 s at the most; its commit may take longer (a standby that must confirm), but then its session is
-- still in a transaction. Only daemons end runs, and only over these sessions.
--   no parameters
--   returns upto timestamptz
--   called by: run_store.fold
select least(actiond.now() - interval '30 seconds', min(s.xact_start)) as upto
  from pg_catalog.pg_stat_activity s
 where s.datname = pg_catalog.current_database() and s.application_name = 'actiond work'
   and s.pid <> pg_catalog.pg_backend_pid()
