-- How the rows of a plan's source become actions: texts of statements, which the daemon and `actiond plan preview` run.
-- They are made anew for every turn of a run, from the plan and nothing else: a row that anybody may insert brings none.

-- Where plans take their rows from, as a query.
create or replace function actiond.plan_query(source text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when s.bare ~* '^("[^"]+"|\w+)(\.("[^"]+"|\w+))?$' then 'select * from ' || s.bare else s.bare end
    from (select rtrim(source, E'; \n\t') as bare) s
$$;

-- The column that is meant: as it is written, or else whatever its case. NULL = none, or several.
create or replace function actiond.plan_column(columns text[], wanted text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select c from unnest(columns) as c where c = wanted limit 1),
                  (select min(c) from unnest(columns) as c where lower(c) = lower(wanted) having count(*) = 1))
$$;

-- A tree of expressions as one: {"who": {"first": "to_jsonb(q.x)"}} -> jsonb_build_object('who', ...). In pieces, because
-- a function takes at most a hundred arguments.
create or replace function actiond.plan_object(tree jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(tree) = 'string' then
    return tree #>> '{}';
  end if;
  return coalesce((
    select string_agg(piece.made, ' || ')
      from (select 'jsonb_build_object(' || string_agg(quote_literal(e.name) || ', ' || actiond.plan_object(e.value), ', ') || ')'
                     as made
              from (select t.key as name, t.value, (row_number() over (order by t.key) - 1) / 40 as piece
                      from jsonb_each(tree) as t) e
             group by e.piece) piece), '''{}''::jsonb');
end $$;

-- The statements of a plan whose source has these columns, of these types (oids).
-- What names something is quoted here or by format_type: a type may be called anything.
--   first, next   insert a page: $1 run (bigint), $2 processor (text), and for next $3 the last key (text)
--                 give made (bigint) and last (text), the key of the last row
--   preview       $1 rows (bigint) -> related, priority, due_at, retries_left, data
--   counted       -> rows (bigint), no_key (bigint): those whose key is NULL
create or replace function actiond.plan_texts(name text, columns text[], types text[])
returns table (first text, next text, preview text, counted text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  plan   actiond.plan;
  query  text;
  key    text;
  known  constant text[] := '{related,priority,due_at,retries_left}';
  given  jsonb := '{}';   -- expressions of columns of the action
  tree   jsonb := '{}';   -- and of the payload
  field  record;
  column_ text;
  path   text[];
  said   text;
  data   text;
  chosen text;
  made   text;
begin
  select p.* into plan from actiond.plan p where p.name = plan_texts.name;
  query := actiond.plan_query(plan.source);
  if plan.key is not null then
    key := actiond.plan_column(columns, plan.key);
    if key is null then
      raise exception 'the source has no column % to page by', quote_literal(plan.key)
        using errcode = 'AC006', hint = format('It has %s.', array_to_string(columns, ', '));
    end if;
  end if;
  if (select count(distinct c) from unnest(columns) as c) < cardinality(columns) then
    raise exception 'the source has two columns of one name'
      using errcode = 'AC006', hint = 'Name each column of the query (select a.id as order_id, ...).';
  end if;
  for field in
    select m.key as target, m.value from jsonb_each(plan.mapping) as m
    union all
    select case when lower(c) = any(known) then lower(c) else c end, to_jsonb(c) from unnest(columns) as c where plan.mapping is null
  loop
    if jsonb_typeof(field.value) = 'object' and field.value ? 'const' then
      said := format('%L::jsonb', field.value -> 'const');
    elsif jsonb_typeof(field.value) = 'string' then
      column_ := actiond.plan_column(columns, field.value #>> '{}');
      if column_ is null then
        raise exception 'the source has no column % for %', field.value, quote_literal(field.target)
          using errcode = 'AC006', hint = format('It has %s.', array_to_string(columns, ', '));
      end if;
      said := format('to_jsonb(q.%I)', column_);
    else
      raise exception 'the mapping of % is neither a column nor {"const": value}', quote_literal(field.target)
        using errcode = 'AC006';
    end if;
    if field.target = any(known) then
      given := given || jsonb_build_object(field.target, format('(%s #>> ''{}'')', said));
      continue;
    end if;
    path := case when plan.mapping is null then array[field.target] else string_to_array(field.target, '.') end;
    if '' = any(path) then
      raise exception '% is no path: names, with dots between them', quote_literal(field.target) using errcode = 'AC006';
    end if;
    for depth in 1 .. cardinality(path) - 1 loop
      if tree #> path[1:depth] is null then
        tree := jsonb_set(tree, path[1:depth], '{}');
      elsif jsonb_typeof(tree #> path[1:depth]) <> 'object' then
        raise exception '% lies within %, which has a value of its own', quote_literal(field.target),
          quote_literal(array_to_string(path[1:depth], '.')) using errcode = 'AC006';
      end if;
    end loop;
    if tree #> path is not null then
      raise exception '% has values of its own and is one', quote_literal(field.target) using errcode = 'AC006';
    end if;
    tree := jsonb_set(tree, path, to_jsonb(said));
  end loop;

  -- By name and nothing taken out, the row as it is: three times as quick as to build an object of it.
  data := case when plan.mapping is not null then actiond.plan_object(tree)
               else format('to_jsonb(q) - %L::text[]', array(select c from unnest(columns) as c where lower(c) = any(known))) end;
  chosen := format('%s as related, coalesce(%s::smallint, 2) as priority, coalesce(%s::timestamptz, actiond.now()) as due_at, '
                   '%s::integer as retries_left, %s as data',
                   coalesce(given ->> 'related', 'null::text'), coalesce(given ->> 'priority', 'null'),
                   coalesce(given ->> 'due_at', 'null'), coalesce(given ->> 'retries_left', 'null'), data);
  -- With ties: rows of one key are never parted, so none is lost where a page ends.
  for behind in 0 .. case when key is null then 0 else 1 end loop
    made := format(
      'with page as materialized (select q.* from (%s) q %s %s), '
      'made as (insert into actiond.action (processor, parent_id, related, priority, next_eligible_at, retries_left, data) '
      'select $2::text, $1::bigint, f.* from (select %s from page q) f returning 1) '
      'select (select count(*) from made) as made, %s as last',
      query,
      case when behind = 1 then format('where q.%I > $3::text::%s', key, format_type(types[array_position(columns, key)]::oid, null)) end,
      case when key is not null then format('order by q.%I fetch first %s rows with ties', key, plan.page) end,
      chosen,
      case when key is null then 'null::text'
           else format('(select q.%I::text from page q order by q.%1$I desc limit 1)', key) end);
    if behind = 0 then
      first := made;
    else
      next := made;
    end if;
  end loop;
  preview := format('select f.related, f.priority, f.due_at, f.retries_left, f.data::text as data from (select %s from (%s) q %s '
                    'limit $1::bigint) f', chosen, query, case when key is not null then format('order by q.%I', key) else '' end);
  counted := format('select count(*) as rows, %s as no_key from (%s) q',
                    case when key is not null then format('count(*) filter (where q.%I is null)', key) else '0::bigint' end, query);
  return next;
end $$;

-- plan_run('monthly'): run it now; gives the id of the run, which is an action.
create or replace function actiond.plan_run(name text) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  id   bigint;
  flag text;
begin
  select p.flag into flag from actiond.plan p where p.name = plan_run.name and p.enabled;
  if not found then
    raise exception 'there is no plan %, or it is off', quote_literal(name)
      using errcode = 'AC006', hint = 'See `actiond plan ls`.';
  end if;
  if not actiond.flag_on(flag) then
    raise exception 'the flag % of plan % is off', quote_literal(flag), quote_literal(name)
      using errcode = 'AC006', hint = format('`actiond flag on %s` switches it on.', flag);
  end if;
  insert into actiond.action (processor, related, data)
  values ('actiond.plan', 'plan ' || name, jsonb_build_object('plan', name)) returning action.id into id;
  return id;
end $$;

-- Who asks for a run must be one who may: who switches plans, or a daemon, for schedules and for plans that follow. For
-- whoever may insert actions can insert one of actiond.plan, too, and have it say that it came far already.
create or replace function actiond.plan_asked_by(role text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_roles r where r.rolname = role)
     or not has_column_privilege(role, 'actiond.plan', 'enabled', 'update')
    and not has_column_privilege(role, 'actiond.plan', 'last_run', 'update') then
    raise exception 'role % may not run plans', quote_ident(role)
      using errcode = 'AC005', hint = 'grant update (enabled) on actiond.plan to that role';
  end if;
end $$;

-- The log: runs of plans, newest first.
create or replace view actiond.plan_log as
select a.id as run, a.data ->> 'plan' as plan, l.status, a.created_at, a.started_at, a.finished_at,
       (a.state ->> 'made')::bigint as made,
       coalesce((a.result ->> 'completed')::bigint, p.completed) as completed,
       coalesce((a.result ->> 'failed')::bigint, p.failed) as failed,
       coalesce((a.result ->> 'canceled')::bigint, p.canceled) as canceled,
       100 * coalesce((a.result ->> 'completed')::bigint, p.completed)::float8
         / nullif(coalesce((a.result ->> 'completed')::bigint + (a.result ->> 'failed')::bigint, p.completed + p.failed), 0)
         as success_percent,
       p.open, p.rate, p.eta, l.error
  from actiond.action a
  join actiond.action_list l on l.id = a.id
  left join lateral (select * from actiond.progress(a.id) where a.result is null) p on true
 where a.processor = 'actiond.plan' and a.data ? 'plan'
 order by a.id desc;

-- An edit: a run that began with what stood here before notices. Switching on and off is none, and what runs write.
create or replace function actiond.plan_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.edition := old.edition + 1;
  new.updated_at := actiond.now();
  new.updated_by := session_user;
  return new;
end $$;

create or replace trigger plan_edited
  before update on actiond.plan
  for each row
  when ((old.source, old.key, old.processor, old.mapping, old.page, old.overlap, old.abort_percent)
        is distinct from (new.source, new.key, new.processor, new.mapping, new.page, new.overlap, new.abort_percent))
  execute function actiond.plan_changed();
