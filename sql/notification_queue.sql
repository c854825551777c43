-- notification_queue: how full is the queue of notifications? Asking also frees what everybody has read, which in a full
-- queue nothing else does: only who notifies does so, and then nobody can.
--   no parameters
--   returns float8 (share)
--   called by: processor_store.notification_queue
select pg_catalog.pg_notification_queue_usage()::float8
