-- subscribe: this processor hears of this event.
--   $1 event text, $2 processor text
--   returns event; no row if it did already
--   called by: events.subscribe
insert into actiond.subscription (event, processor) values ($1, $2) on conflict do nothing returning event
