-- demo_progress: how far the demo is, in one row.
--   no parameters
--   returns inserted, waiting, retrying, running, completed, failed, retried int; seconds float8: from the first
--     row to the last outcome
--   called by: demo/watch
select count(*)::int as inserted,
       (count(*) filter (where a.status = 'pending' and a.claimed_by = 0 and a.attempts = 0))::int as waiting,
       (count(*) filter (where a.status = 'pending' and a.claimed_by = 0 and a.attempts > 0))::int as retrying,
       (count(*) filter (where a.status = 'pending' and a.claimed_by <> 0))::int as running,
       (count(*) filter (where a.status = 'completed'))::int as completed,
       (count(*) filter (where a.status = 'failed'))::int as failed,
       (select count(*) from actiond.history h where h.event = 'retried')::int as retried,
       coalesce(extract(epoch from max(a.finished_at) - min(a.created_at)), 0)::float8 as seconds
  from actiond.action a
