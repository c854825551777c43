-- outcomes_position: the position of who has seen everything until now.
--   no parameters
--   returns text
--   called by: feed.position
select actiond.outcomes_position()
