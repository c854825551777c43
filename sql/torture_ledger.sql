-- torture_ledger: every row that a producer, a parent or the schedule asked for, as the ledger compares it.
--   no parameters
--   returns id, processor, status, related, parent_id, attempts, crashes, scheduled boolean, error,
--     token_wrong (it was decided under another claim)
--   called by: torture/ledger
select a.id, a.processor, a.status, a.related, a.parent_id, a.attempts, a.crashes, a.data ? 'slot' as scheduled, a.error,
       a.status = 'completed' and (a.result ->> 'run')::bigint is distinct from a.run_id as token_wrong
  from actiond.action a
 where a.processor <> 'actiond.verb'
