-- unlock_migrations: the next one.
--   no parameters
--   returns nothing of use
--   called by: migrate
select pg_catalog.pg_advisory_unlock(1633907716, 0)
