-- rescue: return the rows of one run of a dead daemon, with a new fence.
--
-- Every row of the run is charged a crash; if suspects were among the rows of that daemon, only those. A row
-- that saw three daemons die has failed.
-- `status || ''`: by id, please. A plan made while the table was empty would use the index of all that wait.
--   $1 daemon int, $2 run id bigint, $3 blame suspects only boolean, $4 crashes allowed int
--   returns id bigint, status text, crashes int
--   called by: daemon_store.rescue
with run as materialized (
  select r.id, r.actions from actiond.run r
   where r.id = $2 and r.daemon = $1 and r.finished_at is null for update skip locked),
mine as materialized (
  select a.id, a.crashes + (a.crashes > 0 or not $3::boolean)::int as crashes
    from actiond.action a, run
   where a.id = any(run.actions) and a.run_id = run.id and a.claimed_by = $1 and a.status || '' = 'pending'
   order by a.id for no key update of a),
freed as (
  update actiond.action a
     set claimed_by = 0, run_id = nextval('actiond.run_id_seq'), crashes = m.crashes,
         status = case when m.crashes >= $4 then 'failed' else 'pending' end,
         error = case when m.crashes >= $4 then 'quarantined: daemon died' else a.error end,
         finished_at = case when m.crashes >= $4 then actiond.now() end
    from mine m where a.id = m.id
  returning a.id, a.status, a.crashes, a.attempts),
noted as (
  insert into actiond.history (action_id, at, event, run_id, attempt, detail)
  select f.id, actiond.now(), case when f.status = 'failed' then 'failed' else 'crashed' end, $2, f.attempts,
         case when f.status = 'failed' then 'quarantined: daemon died' else 'daemon ' || $1 || ' died' end
    from freed f),
ended as (
  update actiond.run r
     set finished_at = actiond.now(), returned = r.returned + (select count(*) from freed)
    from run where r.id = run.id)
select f.id, f.status, f.crashes from freed f
