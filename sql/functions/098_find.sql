-- Actions by a filter: the one place that understands it. `actiond ls` and all bulk verbs read through find().
--
--   processor, related   exactly this
--   status               one, or an array of them (running is one; empty: nothing matches)
--   error                the last error contains this text
--   fingerprint          the last error, with numbers and quoted values taken out, is this (actiond.fingerprint)
--   created_since, created_until, finished_since, finished_until
--                        a moment ('2030-01-31 08:00', 'yesterday'), or how long ago ('2 h'); since included, until not
--   changed_by           what this bulk verb has changed (an id)
--   upto                 no id above this one

-- 'how long ago' or a point in time, as people write them.
create or replace function actiond.moment(said text) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when $1 ~* '^\s*[0-9]+(\.[0-9]+)?\s*[a-z]' then actiond.now() - $1::interval else $1::timestamptz end
$$;

-- The filter with every moment as a point in time, so that it means the same an hour later. Refuses what it does not know.
create or replace function actiond.exactly(filter jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  member  text;
  moments text[] := '{created_since,created_until,finished_since,finished_until}';
begin
  if jsonb_typeof(filter) is distinct from 'object' then
    raise exception 'a filter is a JSON object' using errcode = 'AC004';
  end if;
  for member in select k from jsonb_object_keys(filter) as k loop
    if member <> all (moments || '{processor,related,status,error,fingerprint,changed_by,upto}') then
      raise exception 'a filter has no %', quote_literal(member)
        using errcode = 'AC004', hint = 'See sql/functions/098_find.sql.';
    end if;
    if member = any (moments) then
      filter := jsonb_set(filter, array[member], to_jsonb(actiond.moment(filter ->> member)));
    end if;
  end loop;
  if jsonb_typeof(filter -> 'status') = 'string' then
    filter := jsonb_set(filter, '{status}', jsonb_build_array(filter -> 'status'));
  end if;
  if filter -> 'status' <@ '["pending", "running", "held", "completed", "failed", "canceled"]' is false then
    raise exception 'a status is pending, running, held, completed, failed or canceled, not %', filter ->> 'status'
      using errcode = 'AC004';
  end if;
  return filter;
end $$;

-- Where to look, the narrowest that an index can give in id order, as something to select from: an alias a with the
-- columns of actiond.action_list, which hides what the caller may not see. $1 and $2 are the ids below and up to which
-- to look, $3 how many rows.
create or replace function actiond.find_in(filter jsonb, direction text, look_at integer, first_look boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  all_rows constant text := 'actiond.action_list a';
  statuses text[] := array(select jsonb_array_elements_text(filter -> 'status'));
  waiting  bigint;
begin
  if filter ? 'changed_by' then
    return format('(select distinct h.action_id as hit from actiond.history h
                     where h.verb_id = %s and h.action_id > $1 and h.action_id <= $2 order by 1 %s) h
                   join actiond.action_list a on a.id = h.hit', (filter ->> 'changed_by')::bigint, direction);
  elsif filter ? 'related' then
    return format('(select r.* from actiond.action_list r
                     where r.related = %L and r.id > $1 and r.id <= $2 order by r.id %s limit $3) a',
                  filter ->> 'related', direction);
  elsif statuses = '{}' then
    return all_rows;
  elsif statuses <@ '{held,failed,canceled}' then
    return format('unnest(%L::text[]) s cross join lateral
                   (select r.* from actiond.action_list r
                     where r.stored_status = s and r.stored_status in (''held'', ''failed'', ''canceled'')
                       and r.id > $1 and r.id <= $2 order by r.id %s limit $3) a', statuses, direction);
  elsif statuses <@ '{running}' then
    return '(select distinct unnest(o.actions) as hit from actiond.run o where o.finished_at is null) h
            join actiond.action_list a on a.id = h.hit';
  elsif statuses <@ '{pending,running}' and not first_look then
    -- All that wait, if that is not too many; else they are dense enough to be met on the way.
    select count(*) into waiting
      from (select from actiond.action_list w
             where w.stored_status = 'pending' and (not filter ? 'processor' or w.processor = filter ->> 'processor')
             limit look_at) x;
    if waiting < look_at then
      return format('(select w.* from actiond.action_list w where w.stored_status = ''pending'' %s) a',
                    case when filter ? 'processor' then format('and w.processor = %L', filter ->> 'processor') end);
    end if;
  end if;
  return all_rows;
end $$;

-- Up to at_most ids that match, in id order (or newest first), after a position; never looks at more than look_at rows
-- of the table, so a call is quick however many there are and however few match.
--   after     only ids above (newest first: below) this one; NULL = from the beginning
--   returns   ids; reached: go on after this id; over: there is nothing more
create or replace function actiond.find(
  filter       jsonb,
  after        bigint  default null,
  at_most      integer default 1000,
  newest_first boolean default false,
  look_at      integer default 50000
) returns table (ids bigint[], reached bigint, over boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  wanted    jsonb  := actiond.exactly(filter);
  above     bigint := case when newest_first then 0 else coalesce(after, 0) end;
  upto      bigint := least(coalesce((wanted ->> 'upto')::bigint, 9223372036854775807),
                            case when newest_first then coalesce(after, 9223372036854775807) - 1
                                 else 9223372036854775807 end);
  direction text   := case when newest_first then 'desc' else 'asc' end;
  statuses  text[] := array(select jsonb_array_elements_text(wanted -> 'status'));
  -- A short look first: what people ask for mostly is among the newest, or close together.
  looks     integer[] := array[least(greatest(500, 2 * at_most), look_at), look_at];
  look      integer;
  looked    integer;
  last_seen bigint;
begin
  if wanted -> 'status' = '[]' then
    return query select '{}'::bigint[], coalesce(after, 0), true;
    return;
  end if;
  foreach look in array looks loop
    execute format($q$
      with looked as materialized (
        select a.id, a.processor, a.related, a.created_at, a.finished_at, a.error, a.status
          from %s
         where a.id > $1 and a.id <= $2
         order by a.id %s
         limit $3),
      matching as (
        select l.id from looked l
         where ($5::text is null or l.processor = $5) and ($6::text is null or l.related = $6)
           and ($7 = '{}' or l.status = any($7))
           and ($8::text is null or position($8 in l.error) > 0)
           and ($9::text is null or actiond.fingerprint(l.error) = $9)
           and ($10::timestamptz is null or l.created_at >= $10) and ($11::timestamptz is null or l.created_at < $11)
           and ($12::timestamptz is null or l.finished_at >= $12) and ($13::timestamptz is null or l.finished_at < $13)
         order by l.id %s
         limit $4)
      select array(select m.id from matching m), (select count(*)::integer from looked),
             (select l.id from looked l order by l.id %s limit 1)$q$,
      actiond.find_in(wanted, direction, look_at, look = looks[1] and look < look_at), direction, direction,
      case when newest_first then 'asc' else 'desc' end)
      into ids, looked, last_seen
      using above, upto, look, at_most, wanted ->> 'processor', wanted ->> 'related', statuses, wanted ->> 'error',
            wanted ->> 'fingerprint', (wanted ->> 'created_since')::timestamptz,
            (wanted ->> 'created_until')::timestamptz, (wanted ->> 'finished_since')::timestamptz,
            (wanted ->> 'finished_until')::timestamptz;
    if cardinality(ids) = at_most then
      reached := ids[at_most];
      over := false;
      return next;
      return;
    end if;
    exit when looked < look;
  end loop;
  over := looked < look;
  reached := case when not over then last_seen when newest_first then 0 else upto end;
  return next;
end $$;
