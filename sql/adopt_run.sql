-- adopt_run: the rows of a claim whose answer was lost, in the shape of step.
-- `status || ''`: by id, please. A plan made while the table was empty would use the index of all that wait.
--   $1 run id bigint, $2 daemon int
--   returns the rows that are still claimed by it
--   called by: action_store.recover
select a.id, a.related, a.data::text as data, a.state::text as state, a.retries_left, a.attempts, a.crashes,
       a.priority, date_part('epoch', a.next_eligible_at) as due_s,
       date_part('epoch', a.started_at - a.next_eligible_at) as waited_s, a.repeat_every is not null as repeats, a.trace,
       a.created_by
  from actiond.run r
  join actiond.action a on a.id = any(r.actions) and a.run_id = r.id and a.claimed_by = $2 and a.status || '' = 'pending'
 where r.id = $1
 order by array_position(r.actions, a.id)
