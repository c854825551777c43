-- show_action: one action, whole.
--   $1 id bigint
--   returns the columns of actiond.action_list
--   called by: read.action
select a.id, a.ref, a.processor, a.status, a.related, a.priority, a.attempts, a.retries_left, a.crashes,
       a.next_eligible_at, a.created_at, a.created_by, a.started_at, a.finished_at, a.daemon, a.run_id, a.error, a.trace,
       a.parent_id, a.waits_for, a.waits_on, a.repeat_every, a.data::text as data, a.result::text as result, a.state::text as state
  from actiond.action_list a
 where a.id = $1
