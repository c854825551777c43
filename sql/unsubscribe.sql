-- unsubscribe: it hears of it no more. What was published before stays.
--   $1 event text, $2 processor text
--   returns event; no row if it did not
--   called by: events.unsubscribe
delete from actiond.subscription s where s.event = $1 and s.processor = $2 returning s.event
