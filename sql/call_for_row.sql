-- call_for_row: a configured function gets one action's related key and data.
--   $1 function text, $2 related text, $3 data text (JSON)
--   returns result text (JSON)
--   called by: actiond_processors.sql_function
select actiond.call_for_row($1, $2, $3::text::jsonb)::text as result
