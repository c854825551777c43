-- invariants: what must hold at any moment, each with how many rows break it (counting stops at $1) and one of them.
--
-- Read only. The rows of a claim under way are consistent at every commit, so this may run beside daemons.
--   $1 count at most int
--   returns name text, broken int, example bigint (an action, or a run for runs_...)
--   called by: read.invariants, torture/ledger
with broken (name, id) as (
  (select 'final_rows_hold_no_claim', a.id from actiond.action a
    where a.status <> 'pending' and a.claimed_by <> 0 limit $1)
  union all
  (select 'final_rows_have_an_end', a.id from actiond.action a
    where (a.status in ('completed', 'failed', 'canceled')) <> (a.finished_at is not null) limit $1)
  union all
  (select 'claimed_rows_have_a_fence_a_start_and_an_attempt', a.id from actiond.action a
    where a.status = 'pending' and a.claimed_by <> 0 and (a.run_id = 0 or a.started_at is null or a.attempts < 1) limit $1)
  union all
  (select 'claimed_rows_belong_to_an_open_run', a.id from actiond.action a
    where a.status = 'pending' and a.claimed_by <> 0
      and not exists (select from actiond.run r
                       where r.id = a.run_id and r.daemon = a.claimed_by and r.finished_at is null
                         and a.id = any(r.actions)) limit $1)
  union all
  (select 'completed_rows_have_no_error', a.id from actiond.action_list a  -- which tells everybody whether there is one
    where a.status = 'completed' and a.error is not null limit $1)
  union all
  (select 'runs_count_no_more_than_they_hold', r.id from actiond.run r
    where r.completed + r.failed + r.retried + r.deferred + r.canceled + r.returned > cardinality(r.actions)
       or r.finished_at is not null and r.processor <> '(void)' and r.fenced < 0 limit $1)
  union all
  (select 'runs_of_ended_daemons_are_closed', r.id from actiond.run r join actiond.daemon d on d.id = r.daemon
    where r.finished_at is null and d.ended_at is not null limit $1)
  union all
  (select 'no_row_is_completed_twice', h.action_id from actiond.history h
    where h.event = 'completed' group by h.action_id having count(*) > 1 limit $1)
  union all
  (select 'completed_is_never_left', h.action_id from actiond.history h
    join actiond.action a on a.id = h.action_id
   where h.event = 'completed' and a.status <> 'completed' limit $1)
  union all
  (select 'a_row_ends_once_more_only_after_a_release', h.action_id from actiond.history h
   where h.event in ('completed', 'failed', 'canceled', 'released')
     and not (h.event = 'canceled' and h.before ->> 'status' is not distinct from 'failed')  -- the end it had, renamed
   group by h.action_id
  having count(*) filter (where h.event <> 'released') > 1 + count(*) filter (where h.event = 'released') limit $1))
select names.name, count(b.id)::int as broken, min(b.id) as example
  from unnest(array['final_rows_hold_no_claim', 'final_rows_have_an_end',
                    'claimed_rows_have_a_fence_a_start_and_an_attempt', 'claimed_rows_belong_to_an_open_run',
                    'completed_rows_have_no_error', 'runs_count_no_more_than_they_hold',
                    'runs_of_ended_daemons_are_closed', 'no_row_is_completed_twice', 'completed_is_never_left',
                    'a_row_ends_once_more_only_after_a_release']) with ordinality as names (name, place)
  left join broken b on b.name = names.name
 group by names.name, names.place
 order by names.place
