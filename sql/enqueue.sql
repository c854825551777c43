-- enqueue: one action, through the same function that SQL clients call.
--   $1 processor, $2 data text (JSON), $3 related, $4 due at timestamptz, $5 due in float8 (seconds), $6 priority,
--   $7 retries left, $8 held boolean, $9 parent bigint, $10 waits on bigint, $11 waits for text,
--   $12 repeat every float8 (seconds), $13 trace (W3C traceparent)
--   returns id bigint
--   called by: postgres/enqueue
select actiond.enqueue($1::text, $2::text::jsonb, $3::text, $4::timestamptz, $5::float8 * interval '1 second',
                       $6::smallint, $7::int, $8::boolean, $9::bigint, $10::bigint, $11::text,
                       $12::float8 * interval '1 second', $13::text)
