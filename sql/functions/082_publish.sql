-- publish('order_paid', '{"order": 7}'): an event, for everybody who subscribed to it; gives to how many.
--
-- One action for each row of actiond.subscription with this event, in the caller's transaction: with what else it does, or
-- not at all. Nobody subscribed: nothing happens, and that is no error. They are nobody's children: who publishes
-- neither waits for those who hear of it nor knows them.
--   related, trace  as for enqueue
create or replace function actiond.publish(
  event   text,
  data    jsonb default '{}',
  related text  default null,
  trace   text  default null
) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  with told as (
    insert into actiond.action (processor, data, related, trace)
    select s.processor, coalesce($2, '{}'), $3, $4 from actiond.subscription s where s.event = $1 order by s.processor
    returning 1)
  select count(*) from told
$$;
