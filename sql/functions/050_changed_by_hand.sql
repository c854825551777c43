-- A status set by a person always beats a late outcome.
--
-- Fires for changes that are not a daemon's: a daemon's outcome is the one update that lets go of a claim and
-- gives the row its end, or lets it wait for its children. Whoever imitates that by hand needs the right to write
-- claimed_by and finished_at.
-- The row loses its claim and gets a fresh fence, so that nothing the daemon still says about it is heard;
-- the daemon is told which run lost a row; history keeps who did it, why, and what changed. Rows that become due
-- ring the bell. SECURITY DEFINER, so that whoever may edit a row need not be able to write history.

-- Who changes something: whoever is logged in; or, in a bulk verb that a daemon works through, whoever asked for it.
-- Only who may write history, and so could name anybody in it, is believed to act for somebody else.
create or replace function actiond.actor() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when current_setting('actiond.by', true) <> ''
                   and has_any_column_privilege(session_user, 'actiond.history', 'insert')
              then current_setting('actiond.by', true) else session_user::text end
$$;

create or replace function actiond.changed_by_hand() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  moved boolean := old.status <> new.status;
begin
  if moved then
    if not (case old.status
              when 'pending'  then new.status in ('held', 'canceled')
              when 'held'     then new.status in ('pending', 'canceled')
              when 'failed'   then new.status in ('pending', 'canceled')
              when 'canceled' then new.status = 'pending'
              else false
            end) then
      raise exception 'an action cannot go from % to % by hand', old.status, new.status
        using errcode = 'AC002',
              hint = 'pending <-> held; pending, held, failed -> canceled; failed, canceled -> pending.';
    end if;
    if old.claimed_by <> 0 then
      perform pg_notify('actiond_withdrawn', old.claimed_by || ' ' || old.run_id || ' ' || old.id);
    end if;
    new.claimed_by  := 0;
    new.run_id      := nextval('actiond.run_id_seq');
    new.finished_at := case when new.status = 'canceled' then actiond.now() end;
  end if;
  if moved or old.claimed_by = 0 and (old.priority <> new.priority or old.next_eligible_at <> new.next_eligible_at) then
    -- Written out and not by a function: a bulk verb pays for each row.
    insert into actiond.history
      (action_id, at, event, run_id, attempt, by, detail, verb, verb_id, reason, before, after)
    values
      (new.id, actiond.now(),
       case when not moved then 'rescheduled' when new.status = 'pending' then 'released' else new.status end,
       nullif(old.run_id, 0), new.attempts,
       case when current_setting('actiond.by', true) <> '' then actiond.actor() else session_user end,
       'was ' || old.status || case when old.claimed_by <> 0 then ', running on daemon ' || old.claimed_by else '' end,
       nullif(current_setting('actiond.verb', true), ''), nullif(current_setting('actiond.verb_id', true), '')::bigint,
       nullif(current_setting('actiond.reason', true), ''),
       case when moved then jsonb_build_object('status', old.status) else '{}' end
         || case when old.priority <> new.priority then jsonb_build_object('priority', old.priority) else '{}' end
         || case when old.retries_left is distinct from new.retries_left
                 then jsonb_build_object('retries_left', old.retries_left) else '{}' end
         || case when old.next_eligible_at <> new.next_eligible_at
                 then jsonb_build_object('next_eligible_at', old.next_eligible_at) else '{}' end,
       case when moved then jsonb_build_object('status', new.status) else '{}' end
         || case when old.priority <> new.priority then jsonb_build_object('priority', new.priority) else '{}' end
         || case when old.retries_left is distinct from new.retries_left
                 then jsonb_build_object('retries_left', new.retries_left) else '{}' end
         || case when old.next_eligible_at <> new.next_eligible_at
                 then jsonb_build_object('next_eligible_at', new.next_eligible_at) else '{}' end);
  end if;
  if new.status = 'pending' then
    perform actiond.ring(new.processor);
  end if;
  return new;
end $$;

create or replace trigger action_changed_by_hand
  before update of status, next_eligible_at, priority on actiond.action
  for each row
  when (   old.status <> new.status
           and (old.claimed_by = 0 or new.claimed_by <> 0 or new.finished_at is null and new.waits_for is null)
        or old.priority <> new.priority
        or new.status = 'pending' and new.claimed_by = 0 and new.next_eligible_at < old.next_eligible_at)
  execute function actiond.changed_by_hand();
