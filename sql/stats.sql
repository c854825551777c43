-- stats: what the runs of each processor came to since then, in whole hours.
--   $1 since interval as float8 (seconds), $2 processor text, or NULL
--   returns the columns of actiond.stats_processor
--   called by: figures.stats
select s.* from actiond.stats($1::float8 * interval '1 second', $2) s
