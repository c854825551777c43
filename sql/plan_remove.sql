-- plan_remove: a plan goes; its runs stay.
--   $1 name text
--   returns name text; no row if there is none
--   called by: plan_edit.remove
delete from actiond.plan where name = $1 returning name
