-- declare_processor: what the code says of a processor. Overrides of an operator stay.
--   $1 name text, $2 declared text (JSON), $3 built-in defaults text (JSON), $4 JSON schema of its payloads text, or NULL,
--   $5 fields of payloads that are not shown text[]
--   returns nothing
--   called by: processor_store.declare
insert into actiond.processor as p (name, declared, built_in, payload, redact)
values ($1, $2::jsonb, $3::jsonb, $4::jsonb, $5::text[])
    on conflict (name) do update
   set declared = excluded.declared, built_in = excluded.built_in, payload = excluded.payload, redact = excluded.redact
 where (p.declared, p.built_in, p.payload, p.redact)
       is distinct from (excluded.declared, excluded.built_in, excluded.payload, excluded.redact)
