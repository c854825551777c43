-- enqueue('welcome_email', '{"to": "a@example.org"}'): one action, in the caller's transaction; gives its id.
--   due_at  when it may run (default: at once); due_in is the same as a distance from now
create or replace function actiond.enqueue(
  processor    text,
  data         jsonb       default '{}',
  related      text        default null,
  due_at       timestamptz default null,
  due_in       interval    default null,
  priority     integer     default 2,
  retries_left integer     default null,
  held         boolean     default false
) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into actiond.action (processor, data, related, next_eligible_at, priority, retries_left, status)
  values ($1, coalesce($2, '{}'), $3, coalesce($4, actiond.now() + coalesce($5, interval '0')), coalesce($6, 2),
          $7, case when $8 then 'held' else 'pending' end)
  returning id
$$;
