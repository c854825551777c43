-- show_history: what happened to an action, in order.
--   $1 id bigint
--   returns at, event, run_id, attempt, by, detail; of what a person did: verb, reason, before, after (JSON texts)
--   called by: read.action
select h.at, h.event, h.run_id, h.attempt, h.by, h.detail, h.verb, h.reason, h.before::text as before,
       h.after::text as after
  from actiond.history_list h where h.action_id = $1 order by h.id
