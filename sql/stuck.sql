-- stuck: actions that do not move: held by a daemon that does not answer, running for long, due for long.
--   $1 for how long as float8 (seconds), $2 limit int, $3 processor text, or NULL
--   returns id, ref, processor, kind (lost, running, waiting), since, for_s, daemon, run_id, attempts, why
--   called by: figures.stuck
select s.* from actiond.stuck($1::float8 * interval '1 second', $2, $3) s
