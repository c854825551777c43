-- take_role: the rest of this transaction has another role, as by SET LOCAL ROLE, which takes no parameter.
--   $1 role text; what this gave before = back
--   returns text: the role until now ('none' = the session's own)
--   called by: role.take, role.leave
with before as materialized (select pg_catalog.current_setting('role') as role)
select b.role, pg_catalog.set_config('role', $1, true) from before b
