-- list_actions: the newest actions that match. Filters that are NULL do not filter.
--   $1 processor, $2 status (running included), $3 related, $4 created since interval as float8 (seconds),
--   $5 error contains text, $6 limit int, $7 ids below bigint (for the next page)
--   returns the columns of actiond.action_list without data, result and state
--   called by: read.actions
select a.id, a.ref, a.processor, a.status, a.related, a.priority, a.attempts, a.retries_left, a.next_eligible_at,
       a.created_at, a.finished_at, a.error
  from actiond.action_list a
 where ($1::text is null or a.processor = $1)
   and ($2::text is null or a.status = $2)
   and ($3::text is null or a.related = $3)
   and ($4::float8 is null or a.created_at >= actiond.now() - $4 * interval '1 second')
   and ($5::text is null or position($5 in a.error) > 0)
   and ($7::bigint is null or a.id < $7)
 order by a.id desc
 limit $6
