-- bulk_start: ask for a bulk verb.
--   $1 verb text, $2 filter text (JSON), $3 reason text, $4 add retries int, $5 held boolean, $6 asked text
--   returns id bigint of the action that it is
--   called by: verbs.start
select actiond.bulk($1::text, $2::text::jsonb, $3::text, $4::int, $5::boolean, $6::text)
