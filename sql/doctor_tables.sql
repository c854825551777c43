-- doctor_tables: how much of each table is dead, and whether autovacuum may clean it.
--   no parameters
--   returns name text, live bigint, dead bigint, vacuumed_s float8 (ago; NULL = never), autovacuum boolean
--   called by: doctor
select 'actiond.' || s.relname as name, s.n_live_tup as live, s.n_dead_tup as dead,
       extract(epoch from clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8 as vacuumed_s,
       not coalesce(c.reloptions && '{autovacuum_enabled=false,autovacuum_enabled=off,autovacuum_enabled=0}', false)
         as autovacuum
  from pg_stat_user_tables s
  join pg_class c on c.oid = s.relid
 where s.schemaname = 'actiond'
 order by s.n_dead_tup desc, s.relname
