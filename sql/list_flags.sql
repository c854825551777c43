-- list_flags: every flag that somebody has set, or that something asks for.
--   no parameters
--   returns flag, enabled boolean (NULL = nobody has set it: it is off), asked_by text[], updated_at, updated_by
--   called by: flag_edit.flags, doctor
select f.flag, f.enabled, f.asked_by, f.updated_at, f.updated_by from actiond.flag_list f order by f.flag
