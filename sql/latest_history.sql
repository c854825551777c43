-- latest_history: what happened last to all actions, newest first. Looks through the latest $6 entries and no more.
--   $1 processor text, $2 event text, $3 by text, $4 since interval as float8 (seconds): NULL does not filter
--   $5 limit int, $6 look at int, $7 ids of history below bigint, or NULL (for the next page)
--   returns id, at, event, action_id, processor, run_id, attempt, by, detail
--   called by: figures.latest_history
select h.id, h.at, h.event, h.action_id, coalesce(h.processor, a.processor) as processor, h.run_id, h.attempt, h.by, h.detail
  from (select x.id, x.at, x.event, x.action_id, x.run_id, x.attempt, x.by, x.detail, x.processor
          from actiond.history_list x
         where $7::bigint is null or x.id < $7 order by x.id desc limit $6) h
  left join actiond.action a on a.id = h.action_id
 where ($1::text is null or a.processor = $1 or h.processor = $1) and ($2::text is null or h.event = $2)
   and ($3::text is null or h.by = $3)
   and ($4::float8 is null or h.at >= (select actiond.now() - $4 * interval '1 second'))
 order by h.id desc
 limit $5
