-- demo_try_longest: a query to try: the longest files.
--   no parameters
--   returns related text, lines jsonb
--   called by: people
select related, result -> 'lines' as lines from actiond.action
 where related like '%.py' order by (result -> 'lines')::int desc limit 5
