-- bulk_look: one bulk verb, as it stands.
--   $1 id bigint
--   returns id bigint, data text (JSON), state text (JSON), status text (running included)
--   called by: verbs.look
select a.id, a.data::text as data, a.state::text as state, a.status
  from actiond.action_list a
 where a.id = $1 and a.processor = 'actiond.verb'
