-- use_built_in: what a processor is made of; one that is not known yet comes to be.
--   $1 name text, $2 the built-in text (NULL = code of its own)
--   returns name text
--   called by: config_apply.apply
insert into actiond.processor as p (name, uses) values ($1, $2)
    on conflict (name) do update set uses = excluded.uses
returning p.name
