-- resume: one processor, or everything.
--   $1 processor text (NULL = everything), $2 reason text
--   returns name, before text (JSON), after text (JSON), closed boolean: an open breaker was closed
--   called by: verbs.resume
select p.name, p.before::text as before, p.after::text as after, p.closed from actiond.resume($1::text, $2::text) p
