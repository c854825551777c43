-- flag_on: is a feature flag on?
--   $1 name text (NULL = none is asked for)
--   returns one boolean
--   called by: plan, while it holds the lock of its plan
select actiond.flag_on($1::text)
