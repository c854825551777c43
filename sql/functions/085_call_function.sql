-- For the built-in sql_function: call a function whose name an operator configured. The casts to regproc
-- refuse what is not the name of one function, and quote it. Names are looked up in the caller's search_path.
create or replace function actiond.call_for_row(function text, related text, data jsonb) returns jsonb
language plpgsql
as $$
declare result jsonb;
begin
  execute pg_catalog.format('select pg_catalog.to_jsonb(%s($1, $2))', $1::pg_catalog.regproc) into result using $2, $3;
  return result;
end $$;

create or replace function actiond.call_for_batch(function text, actions jsonb)
returns table (id bigint, error text, result jsonb)
language plpgsql
as $$
begin
  return query execute pg_catalog.format('select r.id, r.error, r.result from %s($1) as r', $1::pg_catalog.regproc) using $2;
end $$;
