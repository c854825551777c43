-- processor_payload: what the payloads of a processor look like, for who is to make one. Producers may ask.
--   $1 processor text
--   returns payload text (JSON schema), NULL = any JSON; no row: nobody has declared that processor
--   called by: payloads.schema_of
select p.payload::text as payload from actiond.processor p where p.name = $1
