-- Switches: pause and resume one processor or everything, set a knob. With the caller's rights; the triggers in
-- 060_policy_changed.sql tell the daemons, and history who did it and why.

create or replace function actiond.known_processor(name text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from actiond.processor p where p.name = known_processor.name) then
    raise exception 'there is no processor %', quote_literal(name)
      using errcode = 'AC006', hint = '`actiond processors` lists them all.';
  end if;
end $$;

-- pause('welcome'): its rows wait. pause(): nothing at all is claimed, anywhere. What runs goes on to its end.
-- Gives what changed: the value of `enabled` (of the setting `paused`) before and after.
create or replace function actiond.pause(processor text default null, reason text default null)
returns table (name text, before jsonb, after jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('actiond.verb', 'pause', true), set_config('actiond.reason', coalesce(reason, ''), true);
  if processor is null then
    return query select * from actiond.write_setting('paused', 'true');
  else
    perform actiond.known_processor(processor);
    return query select * from actiond.write_knob(processor, 'enabled', 'false');
  end if;
  perform set_config('actiond.verb', '', true), set_config('actiond.reason', '', true);
end $$;

-- resume('welcome'), resume(): the opposite. By name it closes an open breaker, too: `closed`.
create or replace function actiond.resume(processor text default null, reason text default null)
returns table (name text, before jsonb, after jsonb, closed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  was_open boolean;
begin
  perform set_config('actiond.verb', 'resume', true), set_config('actiond.reason', coalesce(reason, ''), true);
  if processor is null then
    return query select w.*, false from actiond.write_setting('paused', 'false') w;
  else
    perform actiond.known_processor(processor);
    -- Under the lock that claims take: one that is under way would write back what it read.
    perform pg_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key(processor));
    update actiond.brake b
       set recent = '', opened_at = null, open_until = null, failed_probes = 0, probe_run = null
     where b.processor = resume.processor and b.open_until is not null;
    was_open := found;
    -- As declared, unless the code itself declares it off.
    return query
      select w.*, was_open from actiond.processor p
       cross join lateral actiond.write_knob(p.name, 'enabled', case when p.declared ->> 'enabled' = 'false' then 'true' end) w
       where p.name = resume.processor;
  end if;
  perform set_config('actiond.verb', '', true), set_config('actiond.reason', '', true);
end $$;

-- set_processor('welcome', 'batch_size', '50'): an override; NULL = as declared again. Values as Postgres reads them.
create or replace function actiond.set_processor(processor text, knob text, value text, reason text default null)
returns table (name text, before jsonb, after jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform actiond.known_processor(processor);
  if not exists (select from actiond.processor_policy v where v.processor = set_processor.processor
                                                          and v.knob = set_processor.knob) then
    raise exception 'there is no knob %', quote_literal(knob)
      using errcode = 'AC006', hint = '`actiond processors NAME` lists them.';
  end if;
  perform set_config('actiond.verb', 'set', true), set_config('actiond.reason', coalesce(reason, ''), true);
  return query select * from actiond.write_knob(processor, knob, value);
  perform set_config('actiond.verb', '', true), set_config('actiond.reason', '', true);
end $$;

-- One override, whatever its type; what it was and is, durations as '90 s'. Not for people: set_processor checks the
-- names.
create or replace function actiond.write_knob(processor text, knob text, value text)
returns table (name text, before jsonb, after jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  type text := (select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                 where a.attrelid = 'actiond.processor'::regclass and a.attname = knob);
  said text := case type when 'interval' then 'to_jsonb(trim_scale(extract(epoch from %s)) || '' s'')'
                         else 'to_jsonb(%s)' end;
begin
  if type is null then
    raise exception 'there is no knob %', quote_literal(knob)
      using errcode = 'AC006', hint = '`actiond processors NAME` lists them.';
  end if;
  return query execute format(
    'with was as (select p.name, %3$s as value from actiond.processor p where p.name = $1 for update)
     update actiond.processor p set %1$I = $2::%2$s from was where p.name = was.name
     returning p.name, was.value, %3$s', knob, type, format(said, format('p.%I', knob))) using processor, value;
end $$;

create or replace function actiond.write_setting(setting text, value jsonb)
returns table (name text, before jsonb, after jsonb)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  with was as materialized (select s.value from actiond.setting s where s.name = $1)
  insert into actiond.setting as s (name, value) values ($1, $2)
      on conflict (name) do update set value = excluded.value
  returning s.name, (select w.value from was w), s.value
$$;
