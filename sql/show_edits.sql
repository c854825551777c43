-- show_edits: who paused, resumed or set something: of one processor, or of all and of the whole installation.
--   $1 processor text, or NULL; $2 limit int
--   returns at, processor (NULL = everything), event, by, reason, before text (JSON), after text (JSON), newest last
--   called by: read.edits
select e.at, e.processor, e.event, e.by, e.reason, e.before::text as before, e.after::text as after
  from (select h.* from actiond.history_list h
         where h.action_id is null and ($1::text is null or h.processor = $1)
         order by h.id desc limit $2) e
 order by e.id
