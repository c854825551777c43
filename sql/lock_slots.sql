-- lock_slots: claims of a processor with bounds over all daemons go one at a time; the lock ends with the transaction.
--   $1 processor text
--   returns locked boolean: false = another daemon is claiming just now
--   called by: action_store.step_within
select pg_try_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key($1)) as locked
