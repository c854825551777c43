-- plan_reached: how far a run of a plan has come, in the transaction that brought it there.
--   $1 run bigint, $2 state text (JSON)
--   returns no rows
--   called by: plan
update actiond.action set state = $2::text::jsonb where id = $1
