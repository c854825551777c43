-- testing_move: the command that puts the one clock of this database forward, as text. If it stood it stands there,
-- else it runs on from there.
--   $1 how much float8 (seconds)
--   returns command text; no row where the name of the database does not say that it is for tests
--   called by: databases.move
select format('create or replace function actiond.now() returns timestamptz language sql volatile as %L',
              case when p.prosrc ~ 'clock_timestamp'
                   then format('select pg_catalog.clock_timestamp() + interval %L',
                               n.at - clock_timestamp() + $1::float8 * interval '1 second')
                   else format('select timestamptz %L', n.at + $1::float8 * interval '1 second') end) as command
  from pg_proc p, (select actiond.now() as at) n
 where p.oid = 'actiond.now()'::regprocedure and current_database() ~ 'test'
