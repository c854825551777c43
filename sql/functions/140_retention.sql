-- Old rows out: what the retention of their processor says, and nothing else.
--
-- Deleted are actions that are final and ended longer ago than that (canceled ones are kept as completed ones are);
-- with them their history. Never one that is still
-- asked about: a child whose parent is open (it counts its children at its end), an action that another one waits for,
-- one that somebody holds locked at this moment (the next walk finds it again). Runs go when their processor keeps
-- neither completed nor failed actions that long, and they are in run_hour, which stays.
--
-- There is no index on completed actions by time: it would cost every action of every user. Instead a walk in id order
-- looks at a page at a time and ends at the first page that was made too lately for any retention. It rests four times
-- as long as it took, and at least five minutes.

-- What holds for whom, in intervals; no row = nothing is ever deleted.
create or replace view actiond.retention as
select k.processor, max(k.value) filter (where k.knob = 'retention_completed') as completed,
       max(k.value) filter (where k.knob = 'retention_failed') as failed
  from (select v.processor, v.knob, v.value::interval from actiond.processor_policy v
         where v.knob in ('retention_completed', 'retention_failed') and v.value is not null) k
 group by k.processor;

-- One page, with the rights of the owner: no role of daemons or people may delete by itself. deleted: actions of this page; walked: of the whole walk, when it is over.
-- No row: another daemon is at it, or it is not due.
create or replace function actiond.purge(rows integer)
returns table (deleted bigint, walked bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  mark     actiond.purge;
  ids      bigint[];
  youngest timestamptz;
  gone     bigint[];
begin
  select p.* into mark from actiond.purge p where p.due_at <= clock_timestamp() for update skip locked;
  if not found then
    return;
  end if;
  if mark.after = 0 then
    mark.began_at := clock_timestamp();
    mark.deleted := 0;
  end if;
  if exists (select from actiond.retention) then
    select array_agg(a.id order by a.id), max(a.created_at) into ids, youngest
      from (select x.id, x.created_at from actiond.action x where x.id > mark.after order by x.id limit purge.rows) a;
    with old as materialized (
      select a.id from actiond.action a join actiond.retention r on r.processor = a.processor
       where a.id = any (ids)
         and a.finished_at < actiond.now() - case when a.status in ('completed', 'canceled') then r.completed
                                                  when a.status = 'failed' then r.failed end
         and not exists (select from actiond.action p where p.id = a.parent_id and p.status in ('pending', 'held'))
         and not exists (select from actiond.action w where w.waits_on = a.id and w.status in ('pending', 'held'))
       order by a.id for update of a skip locked),
    deleted as (delete from actiond.action a using old where a.id = old.id returning a.id)
    select coalesce(array_agg(d.id), '{}') into gone from deleted d;
    delete from actiond.history h where h.action_id = any (gone);
    perform actiond.purge_runs(purge.rows);
  end if;
  mark.after := ids[array_upper(ids, 1)];
  mark.deleted := mark.deleted + coalesce(array_length(gone, 1), 0);
  -- actiond.now() for what rows say, the clock for how long this takes.
  if mark.after is null or array_length(ids, 1) < purge.rows
     or youngest > actiond.now() - (select min(least(r.completed, r.failed)) from actiond.retention r)
  then
    mark.after := 0;
    mark.due_at := clock_timestamp() + greatest(interval '5 minutes', 4 * (clock_timestamp() - mark.began_at));
  end if;
  update actiond.purge p
     set after = mark.after, deleted = mark.deleted, began_at = mark.began_at, due_at = mark.due_at;
  return query select coalesce(array_length(gone, 1), 0)::bigint, case when mark.after = 0 then mark.deleted end;
end $$;

-- A page of runs that nobody will ask for; called by purge, with its rights.
create or replace function actiond.purge_runs(rows integer) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  delete from actiond.run d using (
    select x.id from actiond.retention r
     cross join lateral (
       select u.id from actiond.run u
        where u.processor = r.processor
          and u.finished_at <= (select f.upto from actiond.fold f)
          and u.finished_at < actiond.now() - greatest(r.completed, r.failed)
        order by u.finished_at limit purge_runs.rows) x
     where r.completed is not null and r.failed is not null) old
   where d.id = old.id
$$;
