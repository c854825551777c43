-- Edits of a policy or a setting reach every daemon before its next batch.
create or replace function actiond.policy_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  notify actiond_policy;
  return null;
end $$;

create or replace trigger processor_changed
  after insert or update or delete on actiond.processor
  for each statement execute function actiond.policy_changed();

create or replace trigger setting_changed
  after insert or update or delete on actiond.setting
  for each statement execute function actiond.policy_changed();

-- When, and by whom, says the schema and not whoever edits.
create or replace function actiond.stamped() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := actiond.now();
  if tg_table_name = 'setting' then
    new.updated_by := session_user;
  end if;
  return new;
end $$;

create or replace trigger setting_stamped
  before update on actiond.setting
  for each row execute function actiond.stamped();

create or replace trigger processor_stamped
  before update on actiond.processor
  for each row
  when ((to_jsonb(old) - array['declared', 'built_in', 'payload', 'redact', 'woken_at', 'updated_at'])
        is distinct from (to_jsonb(new) - array['declared', 'built_in', 'payload', 'redact', 'woken_at', 'updated_at']))
  execute function actiond.stamped();

-- The members that differ: {"before": {...}, "after": {...}}.
create or replace function actiond.changes(was jsonb, becomes jsonb, out before jsonb, out after jsonb)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, n.value)
    from jsonb_each(was) o join jsonb_each(becomes) n on n.key = o.key and n.value <> o.value
$$;

-- Who changed a knob of a processor or a setting, why, from what to what. Only the columns that an operator writes:
-- what the code declares and stored wakes are no edits.
create or replace function actiond.note_processor_edit() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into actiond.history (processor, at, event, by, verb, reason, before, after)
  select new.name, actiond.now(),
         case current_setting('actiond.verb', true) when 'pause' then 'paused' when 'resume' then 'resumed' else 'set' end,
         actiond.actor(), nullif(current_setting('actiond.verb', true), ''),
         nullif(current_setting('actiond.reason', true), ''), c.before, c.after
    from actiond.changes(to_jsonb(old) - array['declared', 'built_in', 'payload', 'redact', 'woken_at', 'updated_at'],
                         to_jsonb(new) - array['declared', 'built_in', 'payload', 'redact', 'woken_at', 'updated_at']) c
   where c.before is not null;
  return null;
end $$;

create or replace trigger processor_edited
  after update on actiond.processor
  for each row
  when (old.* is distinct from new.*)
  execute function actiond.note_processor_edit();

create or replace function actiond.note_setting_edit() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into actiond.history (at, event, by, verb, reason, before, after)
  select actiond.now(),
         case current_setting('actiond.verb', true) when 'pause' then 'paused' when 'resume' then 'resumed' else 'set' end,
         actiond.actor(), nullif(current_setting('actiond.verb', true), ''),
         nullif(current_setting('actiond.reason', true), ''),
         case when tg_op <> 'INSERT' then jsonb_build_object(old.name, old.value) end,
         case when tg_op <> 'DELETE' then jsonb_build_object(new.name, new.value) end
   where tg_op <> 'UPDATE' or old.value <> new.value;
  return null;
end $$;

create or replace trigger setting_edited
  after insert or update or delete on actiond.setting
  for each row execute function actiond.note_setting_edit();
