-- enqueue('welcome_email', '{"to": "a@example.org"}'): one action, in the caller's transaction; gives its id.
--   parent    the action that makes this one; waits_on, waits_for: held until that other action has ended so (success,
--             failure, end); see sql/migrations/0003_families.sql
--   repeat_every  run again and again, on a grid of this width that begins at its first time
--   trace     the caller's span as a W3C traceparent: the handler's span becomes its child
--   due_at  when it may run (default: at once); due_in is the same as a distance from now
create or replace function actiond.enqueue(
  processor    text,
  data         jsonb       default '{}',
  related      text        default null,
  due_at       timestamptz default null,
  due_in       interval    default null,
  priority     integer     default 2,
  retries_left integer     default null,
  held         boolean     default false,
  parent       bigint      default null,
  waits_on     bigint      default null,
  waits_for    text        default null,
  repeat_every interval    default null,
  trace        text        default null
) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into actiond.action (processor, data, related, next_eligible_at, priority, retries_left, status,
                              parent_id, waits_on, waits_for, repeat_every, trace)
  values ($1, coalesce($2, '{}'), $3, coalesce($4, actiond.now() + coalesce($5, interval '0')), coalesce($6, 2),
          $7, case when $8 or $10 is not null then 'held' else 'pending' end,
          $9, $10, case when $10 is not null then coalesce($11, 'success') end, $12, $13)
  returning id
$$;
