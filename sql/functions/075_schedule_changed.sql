-- Edits of a schedule: what is due next is computed anew, and daemons are told.
--
-- A changed rule, or switching on, counts from now: slots of before do not fire. Only a schedule that is to make up
-- for `all` missed slots makes up for those while it was off. What switches on a flag does the same for the schedules
-- that ask for it (066_flags.sql). A daemon that moves next_at on is no edit.
create or replace function actiond.schedule_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := actiond.now();
  new.updated_by := session_user;
  if tg_op = 'INSERT' then
    new.name_enabled := new.name_enabled
      and not exists (select from actiond.schedule s where s.name = new.name and not s.name_enabled);
    return new;
  end if;
  new.edition := old.edition + 1;
  new.error := null;
  if (new.cron, new.every, new.timezone, new.starts_at) is distinct from (old.cron, old.every, old.timezone, old.starts_at) then
    new.next_at := null;
    new.since := actiond.now();
    if new.every is distinct from old.every and new.starts_at = old.starts_at then
      new.starts_at := new.since;
    end if;
  elsif new.enabled and new.name_enabled and actiond.flag_on(new.flag)
        and not (old.enabled and old.name_enabled and actiond.flag_on(old.flag)) and new.missed <> 'all' then
    new.next_at := null;
    new.since := actiond.now();
  end if;
  return new;
end $$;

create or replace function actiond.schedule_told() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and new.name_enabled <> old.name_enabled then
    update actiond.schedule s set name_enabled = new.name_enabled
     where s.name = new.name and s.name_enabled <> new.name_enabled;
  end if;
  notify actiond_policy;
  return null;
end $$;

alter table actiond.schedule alter column starts_at set default actiond.now();
alter table actiond.schedule alter column since set default actiond.now();

create or replace trigger schedule_inserted
  before insert on actiond.schedule
  for each row execute function actiond.schedule_changed();

create or replace trigger schedule_edited
  before update on actiond.schedule
  for each row
  when ((old.name, old.processor, old.cron, old.every, old.timezone, old.starts_at, old.data, old.related, old.priority,
         old.enabled, old.name_enabled, old.missed, old.grace, old.overlap, old.environments, old.flag)
        is distinct from
        (new.name, new.processor, new.cron, new.every, new.timezone, new.starts_at, new.data, new.related, new.priority,
         new.enabled, new.name_enabled, new.missed, new.grace, new.overlap, new.environments, new.flag))
  execute function actiond.schedule_changed();

create or replace trigger schedule_told_of_rows
  after insert or delete on actiond.schedule
  for each row execute function actiond.schedule_told();

create or replace trigger schedule_told_of_edits
  after update on actiond.schedule
  for each row
  when (old.edition <> new.edition or new.next_at < old.next_at or new.next_at is null and old.next_at is not null)
  execute function actiond.schedule_told();
