-- torture_bulks: what bulk verbs say that they did, and what history says.
--   no parameters
--   returns id bigint, status text, changed bigint, acts bigint, actions bigint (different ones)
--   called by: torture/ledger
select v.id, v.status, coalesce((v.state ->> 'changed')::bigint, (v.result ->> 'changed')::bigint, 0) as changed,
       count(h.id) as acts, count(distinct h.action_id) as actions
  from actiond.action v
  left join actiond.history h on h.verb_id = v.id
 where v.processor = 'actiond.verb'
 group by v.id
