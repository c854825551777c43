-- outcomes_since: the next outcomes after a position.
--   $1 position text, NULL = the beginning; $2 most int
--   returns the columns of actiond.outcomes_since, see sql/functions/096_feed.sql
--   called by: feed.outcomes
select o.id, o.at, o.action_id, o.processor, o.related, o.outcome, o.attempt, o.run_id, o.by, o.detail, o.position
  from actiond.outcomes_since($1::text, $2::int) o
