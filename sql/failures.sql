-- failures: the latest failed actions, newest first, of all processors or of one.
--   $1 since interval as float8 (seconds), $2 limit int, $3 processor text, or NULL, $4 error text, or NULL: in the
--   error itself, or in what is the same in such errors (actiond.fingerprint), $5 look at that many of the latest int
--   returns id, ref, processor, related, attempts, finished_at, run_id, error
--   called by: figures.failures
select f.id, f.ref, f.processor, f.related, f.attempts, f.finished_at, f.run_id, f.error
  from actiond.recent_failures($1::float8 * interval '1 second', $5, $3) f
 where $4::text is null or position($4 in f.error) > 0 or position($4 in actiond.fingerprint(f.error)) > 0
 order by f.finished_at desc, f.id desc
 limit $2
