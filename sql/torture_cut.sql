-- torture_cut: terminate some connections of daemons.
--   $1 name of the connection text
--   returns boolean
--   called by: torture/faults
select pg_terminate_backend(a.pid) from pg_stat_activity a where a.application_name = $1 limit 3
