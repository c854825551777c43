-- purge: delete a page of what is older than the retention of its processor.
--   $1 rows int: how many are looked at, at most
--   returns deleted bigint: actions; walked bigint: all that the walk deleted, if this was its last page, else NULL.
--     No row = another daemon is at it, or it is not time.
--   called by: retention_store.purge
select p.deleted, p.walked from actiond.purge($1::int) p
