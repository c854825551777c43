-- older_open: is an older action of this processor still open? (By index: pending, or waiting for its children.)
--   $1 processor text, $2 id bigint
--   returns id bigint; NULL = no
--   called by: batch_job
select least(
  (select a.id from actiond.action a where a.processor = $1 and a.status = 'pending' and a.id < $2
    order by a.priority, a.next_eligible_at, a.id limit 1),
  (select a.id from actiond.action a where a.waits_for is not null and a.processor = $1 and a.id < $2
    order by a.id limit 1))
