-- demo_sample: some completed rows, at random.
--   $1 limit int
--   returns path text, result text (JSON)
--   called by: demo/watch
select a.data ->> 'path' as path, a.result::text as result
  from actiond.action a
 where a.status = 'completed'
 order by random()
 limit $1
