-- notify_outcomes: there is something new in the feed. What it is, everybody reads there.
--   no parameters
--   returns nothing
--   called by: feed_store.tell
select pg_catalog.pg_notify('actiond_outcomes', '')
