-- demo_outcomes: how many actions ended how, after how many attempts.
--   no parameters
--   returns outcome text, attempts int, actions int
--   called by: demo/watch
select a.status as outcome, a.attempts, count(*)::int as actions
  from actiond.action_list a
 group by a.status, a.attempts
 order by a.status, a.attempts
