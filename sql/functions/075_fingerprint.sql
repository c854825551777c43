-- What errors of one cause have in common: numbers, ids and quoted values are taken out of the text.
create or replace function actiond.fingerprint(error text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select btrim(regexp_replace(regexp_replace(regexp_replace(regexp_replace(left($1, 300),
           '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<uuid>', 'gi'),
           '"[^"]*"|''[^'']*''', '<text>', 'g'),
           '[0-9]+([.,:][0-9]+)*', '<n>', 'g'),
           '\s+', ' ', 'g'))
$$;
