-- wake('a, b'): processors a and b, look again; wake() or wake(''): all of them. Unknown names are ignored.
--
-- Stored as well as rung: a processor with run_on_insert off runs what is due at its last wake, also when
-- no daemon was alive to hear it.
create or replace function actiond.wake(processors text default '') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  names text[] := array(select btrim(n) from unnest(string_to_array(processors, ',')) as n where btrim(n) <> '');
begin
  update actiond.processor set woken_at = actiond.now()
   where names = '{}' or name = any(names);
  perform pg_notify('actiond_wake', array_to_string(names, ','));
end $$;
