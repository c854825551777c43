-- waiting: a page of the actions that wait for others, for the sweep.
--   $1 after id bigint, $2 limit int
--   returns id bigint
--   called by: family_store.waiting
select a.id from actiond.action a where a.waits_for is not null and a.id > $1 order by a.id limit $2
