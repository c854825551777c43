-- pause: one processor, or everything.
--   $1 processor text (NULL = everything), $2 reason text
--   returns name, before text (JSON), after text (JSON)
--   called by: verbs.pause
select p.name, p.before::text as before, p.after::text as after from actiond.pause($1::text, $2::text) p
