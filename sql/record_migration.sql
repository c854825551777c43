-- record_migration: this file is applied now (version 0, the functions: again).
--   $1 version int, $2 name text, $3 sha256 text
--   returns nothing
--   called by: migrate
insert into actiond.migration (version, name, sha256) values ($1, $2, $3)
    on conflict (version) do update set sha256 = excluded.sha256, applied_at = pg_catalog.clock_timestamp()
