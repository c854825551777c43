-- After every INSERT statement: refuse columns that only a daemon may write, then ring for each processor.
create or replace function actiond.inserted() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from fresh
    where status not in ('pending', 'held') or claimed_by <> 0 or run_id <> 0 or attempts <> 0 or crashes <> 0
       or started_at is not null or finished_at is not null or error is not null or result is not null
       or created_by <> session_user;
  if found then
    raise exception 'an INSERT into actiond.action may not set what the daemon records'
      using errcode = 'AC001',
            hint = 'Leave out claimed_by, run_id, attempts, crashes, started_at, finished_at, error, result and '
                   'created_by; status may be pending or held.';
  end if;
  perform pg_notify('actiond_wake', asked.processor)
     from (select distinct processor from fresh where status = 'pending') as asked
    where not pg_try_advisory_xact_lock_shared(actiond.lock_class('bell'), actiond.lock_key(asked.processor));
  return null;
end $$;

create or replace trigger action_inserted
  after insert on actiond.action
  referencing new table as fresh
  for each statement execute function actiond.inserted();
