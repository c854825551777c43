-- declare_processor: what the code says of a processor. Overrides of an operator stay.
--   $1 name text, $2 declared text (JSON), $3 built-in defaults text (JSON)
--   returns nothing
--   called by: processor_store.declare
insert into actiond.processor as p (name, declared, built_in) values ($1, $2::jsonb, $3::jsonb)
    on conflict (name) do update set declared = excluded.declared, built_in = excluded.built_in
 where p.declared <> excluded.declared or p.built_in <> excluded.built_in
