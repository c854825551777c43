-- family_totals: what became of the children of an action, and some of those that failed.
--   $1 parent bigint, $2 failed ids at most int
--   returns total, completed, failed, canceled bigint, failed_ids bigint[] (in id order)
--   called by: batch_job
select p.total, p.completed, p.failed, p.canceled,
       array(select a.id from actiond.action a where a.parent_id = $1 and a.status = 'failed' order by a.id limit $2)
         as failed_ids
  from actiond.progress($1) p
