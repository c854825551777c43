-- Feature flags: what asks for a flag that is off waits until it is on. A flag that nobody has set is off.

-- flag_on('new_checkout'): is it on? NULL and 'none' ask for no flag. With the owner's rights, and nothing but this
-- answer: who asks for work may ask, too, and sees no other setting.
create or replace function actiond.flag_on(flag text) returns boolean
language sql stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce($1, 'none') = 'none'
         or coalesce((select s.value = 'true'::jsonb from actiond.setting s where s.name = 'flag:' || $1), false)
$$;

-- set_flag('new_checkout', true, 'release 12'): on; false: off; NULL: forget it, so off. Gives what it was and is.
create or replace function actiond.set_flag(flag text, enabled boolean, reason text default null)
returns table (name text, before jsonb, after jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if flag is null or flag !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' or flag = 'none' then
    raise exception '% is no name of a flag', coalesce(quote_literal(flag), 'NULL')
      using errcode = 'AC006', hint = 'Letters, digits, _ . -, at most 100 characters, and not ''none''.';
  end if;
  perform set_config('actiond.verb', 'set', true), set_config('actiond.reason', coalesce(reason, ''), true);
  if enabled is null then
    return query delete from actiond.setting s where s.name = 'flag:' || flag returning flag, s.value, null::jsonb;
  else
    return query select flag, w.before, w.after from actiond.write_setting('flag:' || flag, to_jsonb(enabled)) w;
  end if;
  perform set_config('actiond.verb', '', true), set_config('actiond.reason', '', true);
end $$;

-- Runs of plans that wait for a flag. For those who look, and may not see data.
create or replace view actiond.plan_waits as
select a.id as run, a.data ->> 'plan' as plan, a.state ->> 'flag' as flag
  from actiond.action a
 where a.processor = 'actiond.plan' and a.status = 'pending' and a.state ? 'flag';

-- Its waiting runs go on. Locks the plan first: a run reads its flag while it holds that lock, so either it reads what
-- is now, or it waits already and is found here.
create or replace function actiond.plan_goes_on(plan text) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from actiond.plan p where p.name = $1 for no key update;
  update actiond.action a set next_eligible_at = actiond.now()
   where a.processor = 'actiond.plan' and a.data ->> 'plan' = $1 and a.status = 'pending' and a.claimed_by = 0
     and a.state ? 'flag' and a.next_eligible_at > actiond.now();
end $$;

-- A flag was switched. On: schedules count from now, as when they are enabled, and runs of plans go on. Processors: the
-- daemons are told by the trigger of all settings.
create or replace function actiond.flag_turned() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  turned text := substr(new.name, 6);
begin
  if tg_op = 'UPDATE' and old.value = 'true'::jsonb or new.value <> 'true'::jsonb then
    return null;
  end if;
  update actiond.schedule s set next_at = null, since = actiond.now() where s.flag = turned and s.missed <> 'all';
  perform actiond.plan_goes_on(p.name) from (select p.name from actiond.plan p where p.flag = turned order by p.name) p;
  return null;
end $$;

create or replace trigger setting_flag_turned
  after insert or update on actiond.setting
  for each row when (new.name like 'flag:%')
  execute function actiond.flag_turned();

-- A plan that asks for another flag, or for none any more.
create or replace function actiond.plan_flag_changed() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if actiond.flag_on(new.flag) then
    perform actiond.plan_goes_on(new.name);
  end if;
  return null;
end $$;

create or replace trigger plan_flag_changed
  after update of flag on actiond.plan
  for each row when (old.flag is distinct from new.flag)
  execute function actiond.plan_flag_changed();

-- Every flag that is set or asked for. enabled NULL: nobody has set it, so it is off; a misspelt name looks like this.
create or replace view actiond.flag_list as
with asked as (
  select coalesce(p.flag, p.declared ->> 'flag') as flag, 'processor ' || p.name as by from actiond.processor p
  union all
  select s.flag, 'schedule ' || s.name || ' for ' || s.processor from actiond.schedule s
  union all
  select p.flag, 'plan ' || p.name from actiond.plan p),
known as (
  select substr(s.name, 6) as flag, s.value = 'true'::jsonb as enabled, s.updated_at, s.updated_by
    from actiond.setting s where s.name like 'flag:%')
select coalesce(k.flag, a.flag) as flag, k.enabled, coalesce(a.asked_by, '{}') as asked_by, k.updated_at, k.updated_by
  from known k
  full join (select a.flag, array_agg(a.by order by a.by) as asked_by from asked a
              where a.flag <> 'none' group by a.flag) a on a.flag = k.flag;
