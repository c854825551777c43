-- lock_schedules: nobody else changes the rows of these names until the end of the transaction.
--   $1 names text[]
--   returns name, processor text
--   called by: config_store.lock
select s.name, s.processor from actiond.schedule s where s.name = any($1::text[])
 order by s.name, s.processor for no key update
