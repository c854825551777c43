-- demo_latest: the outcomes of the last moment.
--   $1 limit int
--   returns related text, error text, result text (JSON)
--   called by: demo/watch
select a.related, a.error, a.result::text as result
  from actiond.action a
 where a.finished_at is not null
 order by a.finished_at desc, a.id desc
 limit $1
