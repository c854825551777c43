-- demo_try_history: a query to try: what happened to rows that did not complete at once.
--   no parameters
--   returns at timestamptz, action_id bigint, event text, attempt int, detail text
--   called by: people
select at, action_id, event, attempt, detail
  from actiond.history order by id desc limit 20
