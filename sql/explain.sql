-- explain: the facts that say why an action is not running.
--   $1 id bigint
--   returns one row, the columns of actiond.explain_facts; daemons as JSON text
--   called by: explain.facts
select f.at, f.status, f.processor, f.priority, f.due_at, f.due_in_s, f.attempts, f.crashes, f.error, f.created_by,
       f.finished_at, f.said_by, f.said_at, f.said, f.run_id, f.daemon, f.host, f.pid, f.running_s, f.seen_s,
       f.lease_left_s, f.daemon_lives, f.paused, f.enabled, f.registered, f.uses, f.run_on_insert, f.woken_at,
       f.start_delay_s, f.start_delay_left_s, f.daemons::text as daemons, f.served, f.rate, f.token_in_s, f.breaker,
       f.breaker_opened_at, f.probe_in_s, f.breaker_failed, f.breaker_outcomes, f.failed_probes, f.flag, f.flag_on, f.flag_set, f.flag_of,
       f."window", f.opens_at, f.opens_in_s, f.calls, f.global_limit, f.places,
       f.room, f.suspects_turn, f.waits_for, f.waits_on, f.waits_on_status, f.children_open, f.locked_by, f.locked_by_name, f.ahead, f.per_s
  from actiond.explain_facts($1) f
