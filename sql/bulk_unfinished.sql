-- bulk_unfinished: a bulk verb that this role asked for in the same words and that was interrupted.
--   $1 asked text
--   returns id bigint, data text (JSON), state text (JSON)
--   called by: verbs.unfinished
select a.id, a.data::text as data, a.state::text as state
  from actiond.action a
 where a.related = left($1::text, 1000) and a.processor = 'actiond.verb' and a.status || '' = 'held'
   and a.created_by = session_user and coalesce(a.state ->> 'over', 'false') = 'false'
 order by a.id desc
 limit 1
