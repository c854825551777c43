-- lock_plans: nobody else changes these until the end of the transaction.
--   $1 names text[]
--   returns name text, of those that are there
--   called by: config_store.lock
select p.name from actiond.plan p where p.name = any($1::text[]) order by p.name for no key update
