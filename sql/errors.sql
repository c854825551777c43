-- errors: the latest failures grouped by what is the same in their errors, the most frequent first.
--   $1 since interval as float8 (seconds), $2 look at that many of the latest failures int, $3 processor text, or NULL
--   returns processor, fingerprint, failures, first_at, last_at, example, example_error, looked_at int, more boolean
--   called by: figures.errors
select e.* from actiond.errors($1::float8 * interval '1 second', $2, $3) e
