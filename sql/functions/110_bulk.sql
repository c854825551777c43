-- A verb on all actions that a filter finds: itself an action, of the built-in processor actiond.verb. Its data is what
-- was asked, its state how far it has come: {"reached": id, "changed": n, "over": false}. It goes through the ids in
-- order, a chunk a transaction, and what a chunk changes commits with the state: killed at any point, it goes on where
-- it was and acts on no row twice. A daemon works through one that is pending; the command line through one that is
-- held, by the same function.

-- Asks for it; gives the id of that action. `asked`: how people would call it (its `related`).
create or replace function actiond.bulk(
  verb        text,
  filter      jsonb,
  reason      text    default null,
  add_retries integer default 0,
  held        boolean default false,
  asked       text    default null
) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted jsonb := actiond.exactly(filter);
  id     bigint;
begin
  if actiond.verb_takes(verb) is null then
    raise exception 'there is no verb %', quote_literal(verb)
      using errcode = 'AC003', hint = 'There are cancel, hold, release, retry and run_now.';
  end if;
  if add_retries is null or add_retries < 0 then
    raise exception 'add_retries is 0 or more, not %', add_retries using errcode = 'AC003';
  end if;
  -- Rows that are inserted later are not meant, or it might never end.
  wanted := jsonb_build_object('upto', (select coalesce(max(a.id), 0) from actiond.action a)) || wanted;
  insert into actiond.action (processor, priority, status, related, data)
  values ('actiond.verb', 0, case when held then 'held' else 'pending' end, left(asked, 1000),
          jsonb_build_object('verb', verb, 'filter', wanted, 'reason', reason, 'add_retries', add_retries))
  returning action.id into id;
  return id;
end $$;

-- The filter of a verb, with only the statuses that the verb takes; where none is left, it finds nothing.
create or replace function actiond.narrowed(verb text, filter jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select f.exact || jsonb_build_object('status', (
           select coalesce(jsonb_agg(t.status), '[]') from unnest(actiond.verb_takes($1)) as t (status)
            where not f.exact ? 'status' or f.exact -> 'status' ? t.status))
    from (select actiond.exactly($2) as exact) f
$$;

-- The next chunk of a bulk verb, in the caller's transaction. NULL = it is not the caller's to go on with: neither held
-- nor, for a daemon, claimed by this run. Else its state.
--
-- Whoever may insert actions can insert one of these, too: so it does only what the role that asked may do itself.
create or replace function actiond.verb_step(id bigint, run bigint default 0, at_most integer default 1000)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  asked    actiond.action;
  so_far   jsonb;
  wanted   jsonb;
  found_in record;
  n        bigint;
begin
  select a.* into asked from actiond.action a
   where a.id = verb_step.id and a.processor = 'actiond.verb' for no key update;
  if asked.id is null
     or run = 0 and asked.status <> 'held'
     or run <> 0 and (asked.status <> 'pending' or asked.claimed_by = 0 or asked.run_id <> run) then
    return null;
  end if;
  if not exists (select from pg_roles r where r.rolname = asked.created_by)
     or not has_column_privilege(asked.created_by, 'actiond.action', 'status', 'update') then
    raise exception 'role % may not change actions, and so not ask for this either', quote_ident(asked.created_by)
      using errcode = 'AC005', hint = 'grant update (status) on actiond.action to that role';
  end if;
  so_far := coalesce(asked.state, '{"reached": 0, "changed": 0, "over": false}');
  if (so_far ->> 'over')::boolean then
    return so_far;
  end if;
  if actiond.verb_takes(asked.data ->> 'verb') is null then
    raise exception 'there is no verb %', quote_nullable(asked.data ->> 'verb')
      using errcode = 'AC003', hint = 'There are cancel, hold, release, retry and run_now.';
  end if;
  wanted := actiond.narrowed(asked.data ->> 'verb', asked.data -> 'filter');
  select f.* into found_in from actiond.find(wanted, (so_far ->> 'reached')::bigint, at_most) f;
  perform set_config('actiond.by', asked.created_by, true);
  select count(*) filter (where d.changed) into n
    from actiond.act(asked.data ->> 'verb', found_in.ids, asked.data ->> 'reason',
                     coalesce((asked.data ->> 'add_retries')::integer, 0),
                     array(select jsonb_array_elements_text(wanted -> 'status')), asked.id) d;
  perform set_config('actiond.by', '', true);
  so_far := jsonb_build_object('reached', found_in.reached, 'changed', (so_far ->> 'changed')::bigint + n,
                               'over', found_in.over);
  update actiond.action a set state = so_far where a.id = asked.id;
  return so_far;
end $$;
