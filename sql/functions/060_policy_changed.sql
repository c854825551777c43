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
