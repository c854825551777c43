-- doctor_catalog: the tables, views, constraints, indexes and triggers of the schema as they are, a line each.
--
-- Only what every supported version of Postgres writes alike: no text of a view, no constraint of NOT NULL.
--   no parameters
--   returns kind text, name text, said text, valid boolean (an index that was not finished or a trigger switched off)
--   called by: doctor_schema.catalog
with relations as materialized (
  select c.oid, c.relname, c.relkind, c.reloptions from pg_class c
   where c.relnamespace = 'actiond'::regnamespace and c.relkind in ('r', 'v')),
lines (kind, name, said, valid) as (
select 'column' as kind, r.relname || '.' || a.attname as name,
       format_type(a.atttypid, a.atttypmod)
         || case when a.attnotnull and r.relkind = 'r' then ' not null' else '' end
         || case when a.attidentity <> '' then ' identity' else '' end
         || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as said, true as valid
  from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
union all
select 'constraint', r.relname || '.' || c.conname, pg_get_constraintdef(c.oid), c.convalidated
  from relations r join pg_constraint c on c.conrelid = r.oid and c.contype in ('c', 'f', 'p', 'u')
union all
select 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid and i.indisready
  from relations r join pg_index i on i.indrelid = r.oid
union all
select 'trigger', r.relname || '.' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled <> 'D'
  from relations r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
union all
select 'option', r.relname || '.fillfactor', coalesce(substring(array_to_string(r.reloptions, ',') from 'fillfactor=(\d+)'), '100'),
       true
  from relations r where r.relkind = 'r')
select l.kind, l.name, l.said, l.valid from lines l
 order by kind collate "C", name collate "C"
