-- testing_freeze: the command that lets the one clock of this database stand still, as text.
--   $1 at timestamptz; NULL = at what it says now
--   returns command text; no row where the name of the database does not say that it is for tests
--   called by: databases.freeze
select format('create or replace function actiond.now() returns timestamptz language sql volatile as %L',
              format('select timestamptz %L', coalesce($1::timestamptz, actiond.now()))) as command
 where current_database() ~ 'test'
