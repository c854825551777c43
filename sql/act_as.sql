-- act_as: from now on this session makes things as another role, so that they belong to it.
--   $1 role text; none = itself again
--   returns nothing of use
--   called by: migrate
select pg_catalog.set_config('role', $1, false)
