-- server_pid: which process of the server answers here?
--   no parameters
--   returns int
--   called by: way
select pg_catalog.pg_backend_pid()
