-- note_fenced: outcomes that did not land are kept in history, unless they had landed before (a lost answer).
--   $1 ids bigint[], $2 run ids bigint[], $3 kinds text[], $4 errors text[]
--   returns id bigint: the outcomes that came too late
--   called by: action_store.note_fenced
with late as (
  select o.id, o.run_id, o.kind, o.error
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) as o (id, run_id, kind, error)
    left join actiond.action a on a.id = o.id
   where a.id is null or a.run_id <> o.run_id or a.claimed_by <> 0),
noted as (
  insert into actiond.history (action_id, at, event, run_id, detail)
  select l.id, actiond.now(), 'fenced', l.run_id,
         'run ' || l.run_id || ' ended it anyway: ' || l.kind || coalesce(': ' || l.error, '')
    from late l)
select l.id from late l
