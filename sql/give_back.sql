-- give_back: rows that were claimed but whose call never started go back, uncharged, at once.
-- `status || ''`: by id, please. A plan made while the table was empty would use the index of all that wait.
--   $1 daemon int, $2 run id bigint, $3 ids bigint[]
--   returns id bigint: the rows that were still ours
--   called by: action_store.give_back
with mine as materialized (
  select a.id, a.crashes from actiond.action a
   where a.id = any($3::bigint[]) and a.run_id = $2 and a.claimed_by = $1 and a.status || '' = 'pending'
   order by a.id for no key update),
freed as (
  update actiond.action a
     set claimed_by = 0, run_id = nextval('actiond.run_id_seq'), attempts = a.attempts - 1, started_at = null
    from mine where a.id = mine.id
  returning a.id),
ended as (
  update actiond.run r
     set returned = r.returned + (select count(*) from freed)
   where r.id = $2 and r.finished_at is null)
select f.id from freed f
