-- demo_action: what became of one action so far.
--   $1 action bigint
--   returns status text, attempts int, failed attempts int
--   called by: demo/files, demo/watch
select a.status, a.attempts,
       (select count(*) from actiond.history h where h.action_id = a.id and h.event = 'retried')::int as failed_attempts
  from actiond.action a
 where a.id = $1
