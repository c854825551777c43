-- A status set by a person always beats a late outcome.
--
-- Fires for changes that are not a daemon's: a daemon's outcome is the one update that lets go of a claim and
-- gives the row its end, or lets it wait for its children. Whoever imitates that by hand needs the right to write claimed_by and finished_at.
-- The row loses its claim and gets a fresh fence, so that nothing the daemon still says about it is heard;
-- the daemon is told which run lost a row; history keeps who did it. Rows that become due ring the bell.
-- SECURITY DEFINER, so that whoever may edit a row need not be able to write history.
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
    insert into actiond.history (action_id, at, event, run_id, attempt, detail)
    values (new.id, actiond.now(),
            case new.status when 'pending' then 'released' else new.status end,
            nullif(old.run_id, 0), new.attempts, 'was ' || old.status
              || case when old.claimed_by <> 0 then ', running on daemon ' || old.claimed_by else '' end);
  end if;
  if new.status = 'pending' then
    perform actiond.ring(new.processor);
  end if;
  return new;
end $$;

create or replace trigger action_changed_by_hand
  before update of status, next_eligible_at on actiond.action
  for each row
  when (   old.status <> new.status
           and (old.claimed_by = 0 or new.claimed_by <> 0 or new.finished_at is null and new.waits_for is null)
        or new.status = 'pending' and new.claimed_by = 0 and new.next_eligible_at < old.next_eligible_at)
  execute function actiond.changed_by_hand();
