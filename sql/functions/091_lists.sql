-- Actions by status, as people ask for them: all columns of actiond.action_list, in the order in which people want them
-- and an index has them, so that `limit 20` reads twenty rows.

-- Made in the last seven days; newest first.
create or replace view actiond.recent_actions as
select l.* from actiond.action_list l where l.created_at >= (select actiond.now() - interval '7 days')
 order by l.id desc;

-- The latest failure first.
create or replace view actiond.failed_actions as
select l.* from actiond.action_list l where l.stored_status = 'failed' order by l.finished_at desc;

create or replace view actiond.held_actions as
select l.* from actiond.action_list l where l.stored_status = 'held' order by l.id desc;

-- Waiting, due or not; each processor's in the order in which they will run.
create or replace view actiond.pending_actions as
select l.* from actiond.action_list l where l.stored_status = 'pending' and l.daemon is null
 order by l.processor, l.priority, l.next_eligible_at, l.id;

-- In the hands of a daemon, those that began first first: by the open runs, so that a long backlog costs nothing.
-- `stored_status || ''`: by id, please; no plan shall look through all that wait.
create or replace view actiond.running_actions as
select l.*
  from actiond.run r
 cross join lateral unnest(r.actions) as held (id)
  join actiond.action_list l on l.id = held.id and l.run_id = r.id and l.stored_status || '' = 'pending'
 where r.finished_at is null
 order by r.started_at, l.id;

-- Everything that was asked for about one record of yours, newest first.
create or replace function actiond.related(related text, most integer default 1000)
returns setof actiond.action_list
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select l.* from actiond.action_list l where l.related = $1 order by l.id desc limit $2 $$;

-- The first id that was made since then. By the index of pages on created_at and no other, because the planner does
-- not know how little that is: it would read every row.
create or replace function actiond.first_since(since timestamptz) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_indexscan = off
set enable_indexonlyscan = off
as $$ select min(a.id) from actiond.action a where a.created_at >= $1 $$;
