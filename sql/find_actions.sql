-- find_actions: ids that match a filter, after a position; looks at a bounded number of rows.
--   $1 filter text (JSON), $2 after bigint (NULL = from the beginning), $3 at most int, $4 newest first boolean
--   returns ids bigint[], reached bigint, over boolean
--   called by: read.actions, verbs.count
select f.ids, f.reached, f.over from actiond.find($1::text::jsonb, $2::bigint, $3::int, $4::boolean) f
