-- set_processor: override a knob, or take an override back.
--   $1 processor text, $2 knob text, $3 value text (NULL = as declared), $4 reason text
--   returns name, before text (JSON), after text (JSON)
--   called by: verbs.set_knob
select p.name, p.before::text as before, p.after::text as after
  from actiond.set_processor($1::text, $2::text, $3::text, $4::text) p
