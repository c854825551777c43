-- applied_migrations: what was applied, and with which text.
--   no parameters
--   returns version, name, sha256
--   called by: migrate.plan
select version, name, sha256 from actiond.migration order by version
