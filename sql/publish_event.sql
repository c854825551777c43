-- publish_event: an event, through the same function that SQL clients call.
--   $1 event text, $2 data text (JSON), $3 related text, $4 trace text (W3C traceparent)
--   returns bigint: how many actions
--   called by: postgres/events
select actiond.publish($1::text, $2::text::jsonb, $3::text, $4::text)
