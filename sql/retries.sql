-- retries: how often it took more than one attempt since then, in whole hours; the most retried first.
--   $1 since interval as float8 (seconds), $2 processor text, or NULL
--   returns the columns of actiond.stats_retries
--   called by: figures.retries
select r.* from actiond.retries($1::float8 * interval '1 second', $2) r
