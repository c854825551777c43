-- torture_events: how often each thing happened.
--   no parameters
--   returns event, n
--   called by: torture/ledger
select h.event, count(*) as n from actiond.history h group by h.event
