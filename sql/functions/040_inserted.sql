-- After every INSERT statement: refuse columns that only a daemon may write, then ring for each processor.
--
-- One query without search_path of its own, because single-row INSERTs pay for each: every name is qualified, and
-- it runs with the inserter's rights. Rows of one processor ask for one lock again and again, which is cheap, and
-- send one notification, because Postgres sends the same one once for a transaction.
create or replace function actiond.refuse_forged() returns void
language plpgsql
as $$
begin
  raise exception 'an INSERT into actiond.action may not set what the daemon records'
    using errcode = 'AC001',
          hint = 'Leave out claimed_by, run_id, attempts, crashes, started_at, finished_at, error, result and '
                 'created_by; status may be pending or held.';
end $$;

create or replace function actiond.inserted() returns trigger
language plpgsql
as $$
begin
  perform case
            when status not in ('pending', 'held') or claimed_by <> 0 or run_id <> 0 or attempts <> 0 or crashes <> 0
              or started_at is not null or finished_at is not null or error is not null or result is not null
              or created_by <> session_user
            then actiond.refuse_forged()
            when status = 'pending' and not pg_catalog.pg_try_advisory_xact_lock_shared(
                   actiond.lock_class('bell'), actiond.lock_key(processor))
            then pg_catalog.pg_notify('actiond_wake', processor)
          end
     from fresh;
  return null;
end $$;

create or replace trigger action_inserted
  after insert on actiond.action
  referencing new table as fresh
  for each statement execute function actiond.inserted();
