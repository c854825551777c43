-- set_flag: a feature flag on, off, or forgotten.
--   $1 name text, $2 on boolean (NULL = forget it), $3 reason text
--   returns name, before text (JSON), after text (JSON); no row if there was nothing to forget
--   called by: flag_edit.turn
select f.name, f.before::text as before, f.after::text as after
  from actiond.set_flag($1::text, $2::boolean, $3::text) f
