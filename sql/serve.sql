-- serve: which processors this daemon runs, where that is no longer what it said when it registered.
--   $1 daemon int, $2 processors text[]
--   returns nothing of use
--   called by: processor_store.serve
update actiond.daemon set processors = $2 where id = $1 and ended_at is null and processors is distinct from $2
