-- Children of children of children: a processor that enqueues itself for ever is refused at some depth. Only rows
-- with a parent pay for it, and of the children of one parent only the first in a transaction: which one that was
-- stands in actiond.adopted. (Who sets that by hand fools a guard against accidents.) The limit: setting max_depth, 100
-- unless somebody says otherwise.
create or replace function actiond.adopted() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  most  integer := coalesce((select (s.value #>> '{}')::integer from actiond.setting s where s.name = 'max_depth'), 100);
  above bigint  := new.parent_id;
begin
  for depth in 1 .. most loop
    select a.parent_id into above from actiond.action a where a.id = above;
    if above is null then
      perform set_config('actiond.adopted', new.parent_id::text, true);
      return new;
    end if;
  end loop;
  raise exception 'actions nest deeper than %', most
    using errcode = 'AC003',
          hint = 'A processor probably enqueues itself. If it is meant to: insert into actiond.setting (name, value) '
                 'values (''max_depth'', ''1000'').';
end $$;

create or replace trigger action_adopted
  before insert on actiond.action
  for each row
  when (new.parent_id is not null and new.parent_id::text is distinct from pg_catalog.current_setting('actiond.adopted', true))
  execute function actiond.adopted();

-- A person who takes a waiting action out of its waiting ends the waiting: it is released for good, or canceled.
create or replace function actiond.waits_no_more() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.waits_for := null;
  new.waits_on  := null;
  return new;
end $$;

create or replace trigger action_waits_no_more
  before update of status on actiond.action
  for each row when (old.waits_for is not null and new.status <> 'held')
  execute function actiond.waits_no_more();

-- How far the children of an action are: progress(7). Counts by index; a family of 100,000 takes some 10 ms.
--   rate per second over the last minute; eta at that rate, NULL when nothing ended lately
create or replace function actiond.progress(parent bigint)
returns table (total bigint, open bigint, running bigint, completed bigint, failed bigint, canceled bigint,
               rate double precision, eta interval)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with counted as (
    select count(*) as total,
           count(*) filter (where a.status in ('pending', 'held')) as open,
           count(*) filter (where a.status = 'pending' and a.claimed_by <> 0) as running,
           count(*) filter (where a.status = 'completed') as completed,
           count(*) filter (where a.status = 'failed') as failed,
           count(*) filter (where a.status = 'canceled') as canceled,
           count(*) filter (where a.finished_at > actiond.now() - interval '1 minute') as lately,
           least(60, extract(epoch from actiond.now() - min(a.created_at)))::float8 as seconds
      from actiond.action a where a.parent_id = $1)
  select c.total, c.open, c.running, c.completed, c.failed, c.canceled,
         coalesce(c.lately / nullif(c.seconds, 0), 0),
         case when c.open = 0 then interval '0' when c.lately > 0 then c.open * c.seconds / c.lately * interval '1 second' end
    from counted c
$$;

-- Cancel what is open of a family, the action itself too; gives how many that were.
create or replace function actiond.cancel_family(parent bigint) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  with recursive family as (
    select a.id, a.status from actiond.action a where a.id = $1
    union all
    select c.id, c.status from family f join actiond.action c on c.parent_id = f.id),
  open as (
    select a.id from actiond.action a
     where a.id in (select f.id from family f where f.status in ('pending', 'held'))
     order by a.id for no key update),
  canceled as (
    update actiond.action a set status = 'canceled' from open o
     where a.id = o.id and a.status in ('pending', 'held') returning 1)
  select count(*) from canceled
$$;
