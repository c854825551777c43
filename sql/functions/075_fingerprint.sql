-- What is the same in errors that differ: ids, numbers and quoted texts are taken out. Of long texts the beginning.
create or replace function actiond.fingerprint(error text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select btrim(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(left($1, 300),
           '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<uuid>', 'gi'),
           '"[^"]*"|(?<![a-zA-Z0-9])''[^'']*''|`[^`]*`', '<text>', 'g'),  -- not the apostrophe of "doesn't"
           '\y(0x[0-9a-f]+|(?=[a-f]*[0-9])[0-9a-f]{8,})\y', '<hex>', 'gi'),
           '[0-9]+([.,:][0-9]+)*', '<n>', 'g'),
           '\s+', ' ', 'g'))
$$;
