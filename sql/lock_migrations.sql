-- lock_migrations: one migration at a time; asked again and again, because a waiting session holds a snapshot.
-- The numbers are actiond.lock_class('migrate'), needed before that function exists.
--   no parameters
--   returns boolean
--   called by: migrate
select pg_catalog.pg_try_advisory_lock(1633907716, 0)
