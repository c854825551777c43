-- What a person can do to actions: cancel, hold, release, retry, run_now. The command line calls these, and so may
-- anybody who may update actions: they run with the caller's rights. The trigger action_changed_by_hand fences rows
-- that run, and writes history: who, why, from what to what.

-- The statuses that a verb takes; NULL: there is no such verb. The same as words/status.VERBS; a test compares.
create or replace function actiond.verb_takes(verb text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case verb
           when 'cancel'  then '{pending,running,held,failed}'::text[]
           when 'hold'    then '{pending,running}'::text[]
           when 'release' then '{held,canceled}'::text[]
           when 'retry'   then '{held,failed,canceled}'::text[]
           when 'run_now' then '{pending,held,failed,canceled}'::text[]
         end
$$;

-- One verb on these ids. A row for each id, in id order: was NULL = there is no such action.
--
--   cancel   the end. What runs counts no more, from this moment
--   hold     stays until it is released
--   release  goes on as it was planned: held before, or canceled
--   retry    due now, its error taken back, with add_retries more retries (0: what is left; none = one more try)
--   run_now  due now, and before everything else of its processor (priority 0). A processor that runs only when
--            woken is woken: whatever else is due runs, too
--
-- The rows are locked in id order, as outcomes are written: two never wait for each other. `statuses` narrows what the
-- verb takes; for_verb is the bulk verb that this is a part of.
create or replace function actiond.act(
  verb        text,
  ids         bigint[],
  reason      text    default null,
  add_retries integer default 0,
  statuses    text[]  default null,
  for_verb    bigint  default null
) returns table (id bigint, processor text, was text, status text, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  takes text[] := actiond.verb_takes(act.verb);
  at    timestamptz := actiond.now();
  due   text;
begin
  if takes is null then
    raise exception 'there is no verb %', quote_literal(act.verb)
      using errcode = 'AC003', hint = 'There are cancel, hold, release, retry and run_now.';
  end if;
  if act.add_retries is null or act.add_retries < 0 then
    raise exception 'add_retries is 0 or more, not %', act.add_retries using errcode = 'AC003';
  end if;
  -- A statement of its own: the one that follows sees the rows as they are, now that they can change no more.
  perform from (select from actiond.action a where a.id = any(act.ids) order by a.id for no key update) locked;
  perform set_config('actiond.verb', act.verb, true), set_config('actiond.reason', coalesce(act.reason, ''), true),
          set_config('actiond.verb_id', coalesce(act.for_verb::text, ''), true);
  return query
    with found as materialized (
      select a.id, a.processor, case when a.status = 'pending' and a.claimed_by <> 0 then 'running' else a.status end as was
        from actiond.action a
       where a.id = any(act.ids)),
    changed as (
      update actiond.action a
         set status = case act.verb when 'cancel' then 'canceled' when 'hold' then 'held' else 'pending' end,
             next_eligible_at = case act.verb when 'retry' then at when 'run_now' then least(a.next_eligible_at, at)
                                              else a.next_eligible_at end,
             priority = case act.verb when 'run_now' then 0 else a.priority end,
             error = case act.verb when 'retry' then null else a.error end,
             retries_left = case when act.verb <> 'retry' or act.add_retries = 0 then a.retries_left
                                 else least(coalesce(a.retries_left, actiond.retries_of(a.processor))::bigint
                                            + act.add_retries, 2000000000)::integer end
        from found f
       where a.id = f.id and f.was = any(takes) and (act.statuses is null or f.was = any(act.statuses))
         -- A bulk verb leaves other bulk verbs alone: two of them would wait for each other.
         and (act.for_verb is null or a.processor <> 'actiond.verb')
      returning a.id, a.status)
    select asked.id, f.processor, f.was, coalesce(c.status, f.was), c.id is not null
      from (select distinct unnest(act.ids) as id) asked
      left join found f on f.id = asked.id
      left join changed c on c.id = asked.id
     order by asked.id;
  if act.verb = 'run_now' then
    -- Not only the bell: a busy daemon looks again, too, and from the beginning.
    for due in select distinct a.processor from actiond.action a
                where a.id = any(act.ids) and a.status || '' = 'pending' and a.claimed_by = 0 order by 1 loop
      perform actiond.wake(due);
    end loop;
  end if;
  perform set_config('actiond.verb', '', true), set_config('actiond.reason', '', true),
          set_config('actiond.verb_id', '', true);
end $$;

-- The retries in force of a processor.
create or replace function actiond.retries_of(processor text) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select coalesce(p.retries, (p.declared ->> 'retries')::integer, (p.built_in ->> 'retries')::integer)
                     from actiond.processor p where p.name = $1), 0)
$$;

create or replace function actiond.cancel(ids bigint[], reason text default null)
returns table (id bigint, processor text, was text, status text, changed boolean)
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select * from actiond.act('cancel', $1, $2) $$;

create or replace function actiond.hold(ids bigint[], reason text default null)
returns table (id bigint, processor text, was text, status text, changed boolean)
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select * from actiond.act('hold', $1, $2) $$;

create or replace function actiond.release(ids bigint[], reason text default null)
returns table (id bigint, processor text, was text, status text, changed boolean)
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select * from actiond.act('release', $1, $2) $$;

create or replace function actiond.retry(ids bigint[], reason text default null, add_retries integer default 0)
returns table (id bigint, processor text, was text, status text, changed boolean)
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select * from actiond.act('retry', $1, $2, $3) $$;

create or replace function actiond.run_now(ids bigint[], reason text default null)
returns table (id bigint, processor text, was text, status text, changed boolean)
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select * from actiond.act('run_now', $1, $2) $$;
