-- store_wake: a NOTIFY by hand named processors that run only when woken; keep the wake.
--   $1 processors text[]
--   returns nothing
--   called by: processor_store.store_wake
update actiond.processor set woken_at = actiond.now() where name = any($1::text[])
