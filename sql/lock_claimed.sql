-- lock_claimed: inside the handler's transaction, lock the rows that are still this run's own.
-- `status || ''`: by id, please. A plan made while the table was empty would use the index of all that wait.
--   $1 daemon int, $2 run id bigint, $3 ids bigint[]
--   returns id bigint
--   called by: transaction
select a.id from actiond.action a
 where a.id = any($3::bigint[]) and a.run_id = $2 and a.claimed_by = $1 and a.status || '' = 'pending'
 order by a.id for no key update
