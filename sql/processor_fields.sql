-- processor_fields: what the code of a processor says of its payloads, for people.
--   $1 processor text
--   returns payload text (JSON schema), NULL = any JSON; redact text[]
--   called by: read.payload
select p.payload::text as payload, p.redact from actiond.processor p where p.name = $1
