-- narrowed_filter: a filter with the statuses that a verb takes, and every moment as a point in time.
--   $1 verb text, $2 filter text (JSON)
--   returns filter text (JSON)
--   called by: verbs.narrowed
select actiond.narrowed($1::text, $2::text::jsonb)::text
