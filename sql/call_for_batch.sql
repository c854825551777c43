-- call_for_batch: a configured function gets a whole batch, as [{"id": , "related": , "attempt": , "data": }, ...].
--   $1 function text, $2 actions text (JSON)
--   returns id bigint, error text, result text (JSON)
--   called by: actiond_processors.sql_function
select id, error, result::text from actiond.call_for_batch($1, $2::text::jsonb)
