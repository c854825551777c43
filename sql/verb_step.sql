-- verb_step: the next chunk of a bulk verb; what it changed and its position commit together.
--   $1 id bigint, $2 run bigint (0: the row is held, and somebody works through it by hand), $3 rows at most int
--   returns the state as text (JSON); NULL = it is not ours to go on with
--   called by: verbs.step, verb
select actiond.verb_step($1::bigint, $2::bigint, $3::int)::text
