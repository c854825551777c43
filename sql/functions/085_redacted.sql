-- A payload without what its processor says is not to be shown: every field of these names (in lower case), at any depth.
-- What is encrypted there shows that it is.
-- The daemon does the same to errors and logs (rules/redaction.py). Beyond a depth that no payload has nothing is shown.
create or replace function actiond.redacted(value jsonb, fields text[], depth integer default 0) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if depth > 50 then
    return '"[hidden]"';
  end if;
  case jsonb_typeof(value)
    when 'object' then
      return coalesce((select jsonb_object_agg(m.key, case when m.value ? '$encrypted' then '"[encrypted]"'
                                                           when lower(m.key) = any(fields) then '"[hidden]"'
                                                           else actiond.redacted(m.value, fields, depth + 1) end)
                         from jsonb_each(value) m), '{}');
    when 'array' then
      return coalesce((select jsonb_agg(actiond.redacted(e.value, fields, depth + 1) order by e.place)
                         from jsonb_array_elements(value) with ordinality as e (value, place)), '[]');
    else
      return value;
  end case;
end $$;
