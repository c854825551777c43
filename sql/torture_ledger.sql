-- torture_ledger: every row, as the ledger compares it.
--   no parameters
--   returns id, status, related, attempts, crashes, token_wrong (it was decided under another claim), error
--   called by: torture/ledger
select a.id, a.status, a.related, a.attempts, a.crashes, a.error,
       a.status = 'completed' and (a.result ->> 'run')::bigint is distinct from a.run_id as token_wrong
  from actiond.action a
