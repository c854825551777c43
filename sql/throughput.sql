-- throughput: outcomes by hour, of all processors or of one, the oldest hour first. Hours without any are left out.
--   $1 since interval as float8 (seconds), $2 processor text, or NULL
--   returns hour, runs, completed, failed, canceled, retried, deferred
--   called by: figures.throughput
select h.hour, sum(h.runs)::bigint as runs, sum(h.completed)::bigint as completed, sum(h.failed)::bigint as failed,
       sum(h.canceled)::bigint as canceled, sum(h.retried)::bigint as retried, sum(h.deferred)::bigint as deferred
  from actiond.run_hours((select actiond.now() - $1::float8 * interval '1 second')) h
 where $2::text is null or h.processor = $2
 group by h.hour
 order by h.hour
