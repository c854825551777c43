-- migration_books: has this database ever been migrated?
--   no parameters
--   returns boolean
--   called by: migrate.plan
select pg_catalog.to_regclass('actiond.migration') is not null
