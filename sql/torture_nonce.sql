-- torture_nonce: sign the database of this run.
--   $1 nonce text
--   returns nothing
--   called by: torture/stage
insert into actiond.setting (name, value) values ('torture_nonce', to_jsonb($1::text))
    on conflict (name) do update set value = excluded.value
