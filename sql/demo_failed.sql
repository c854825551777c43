-- demo_failed: the rows that failed, and why.
--   no parameters
--   returns id bigint, file text, attempts int, reason text
--   called by: demo/watch
select a.id, a.related as file, a.attempts, a.error as reason
  from actiond.action a
 where a.status = 'failed'
 order by a.id
