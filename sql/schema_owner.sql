-- schema_owner: who owns the schema; and is that somebody else, as whom this role may act?
--   no parameters
--   returns name text, other boolean; nothing where there is no schema
--   called by: migrate
select r.rolname::text as name,
       r.rolname <> current_user and pg_catalog.pg_has_role(current_user, n.nspowner, 'member') as other
  from pg_catalog.pg_namespace n join pg_catalog.pg_roles r on r.oid = n.nspowner
 where n.nspname = 'actiond'
