-- testing_actions: these actions, whole, in the order asked for.
--   $1 ids bigint[]
--   returns columns of actiond.action_list; data, result and state as text, nothing hidden: for tests
--   called by: stored.look
select a.id, a.processor, a.status, r.data::text as data, a.related, a.attempts, a.retries_left, a.next_eligible_at,
       r.result::text as result, a.error, r.state::text as state
  from unnest($1::bigint[]) with ordinality as asked (id, place)
  join actiond.action_list a on a.id = asked.id
  join actiond.action r on r.id = asked.id
 order by asked.place
