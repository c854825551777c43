-- doctor_transactions: sessions of this database whose transaction is old, and transactions left prepared. They hold
-- back vacuum, on every table.
--   $1 seconds float8
--   returns pid int (NULL = prepared), name text (of the prepared one), who text, application text, state text, age_s
--   called by: doctor
select a.pid, null as name, a.usename::text as who, a.application_name as application, a.state,
       extract(epoch from clock_timestamp() - a.xact_start)::float8 as age_s
  from pg_stat_activity a
 where a.datname = current_database() and a.xact_start < clock_timestamp() - $1::float8 * interval '1 second'
   and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
union all
select null, p.gid, p.owner::text, null, 'prepared', extract(epoch from clock_timestamp() - p.prepared)::float8
  from pg_prepared_xacts p
 where p.database = current_database() and p.prepared < clock_timestamp() - $1::float8 * interval '1 second'
 order by age_s desc
 limit 20
