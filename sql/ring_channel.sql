-- ring_channel: does whoever listens there hear this?
--   $1 channel text
--   returns nothing of use
--   called by: way
select pg_catalog.pg_notify($1, '')
