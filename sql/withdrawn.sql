-- withdrawn: rows of this daemon's open runs that are no longer its own (canceled, held, rescued).
--   $1 daemon int, $2 run ids bigint[]
--   returns run_id bigint, id bigint
--   called by: action_store.withdrawn
select r.id as run_id, held.id
  from actiond.run r
 cross join lateral unnest(r.actions) as held (id)
  left join actiond.action a on a.id = held.id
 where r.id = any($2::bigint[]) and r.daemon = $1
   and (a.id is null or a.run_id <> r.id)
