-- plan_switch: a plan on or off.
--   $1 name text, $2 enabled boolean
--   returns name text; no row if there is none
--   called by: plan_edit.switch
update actiond.plan set enabled = $2 where name = $1 returning name
