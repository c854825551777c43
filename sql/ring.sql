-- ring: tell every daemon to look again.
--   $1 processors text: a comma list
--   returns nothing of use
--   called by: presence, rescue_loop
select pg_notify('actiond_wake', $1)
