-- list_actions: these actions, newest first.
--   $1 ids bigint[]
--   returns the columns of actiond.action_list without data, result and state
--   called by: read.listed
select a.id, a.ref, a.processor, a.status, a.related, a.priority, a.attempts, a.retries_left, a.next_eligible_at,
       a.created_at, a.finished_at, a.error
  from actiond.action_list a
 where a.id = any($1::bigint[])
 order by a.id desc
