-- The next time of a grid after now, or after `slot` when missed times are made up for.
create or replace function actiond.next_slot(slot timestamptz, every interval, missed boolean, at timestamptz)
returns timestamptz
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select slot + case when missed and at >= slot then 1
                     else floor(extract(epoch from at - slot) / extract(epoch from every)) + 1
                end * extract(epoch from every) * interval '1 second'
$$;

-- A time changed by hand (run now, postpone) is not on the grid: remember the one that was.
create or replace function actiond.leaves_its_grid() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.repeat_slot := coalesce(old.repeat_slot, old.next_eligible_at);
  return new;
end $$;

create or replace trigger action_leaves_its_grid
  before update of next_eligible_at on actiond.action
  for each row
  when (old.repeat_every is not null and old.claimed_by = 0 and new.claimed_by = 0
        and new.next_eligible_at <> old.next_eligible_at and new.repeat_slot is not distinct from old.repeat_slot)
  execute function actiond.leaves_its_grid();
