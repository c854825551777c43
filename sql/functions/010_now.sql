-- The one clock of the system. Tests replace this function; production never does.
-- VOLATILE on purpose: so it is inlined into column defaults and costs nothing there. Statements read it
-- once, in a CTE or a scalar subquery, which also makes it usable as an index bound.
create or replace function actiond.now() returns timestamptz
language sql volatile
as $$ select pg_catalog.clock_timestamp() $$;

alter table actiond.action alter column next_eligible_at set default actiond.now();
alter table actiond.action alter column created_at set default actiond.now();
