-- What happened to actions, as people read it. Details hold whole error texts: see 090_views.sql for who sees them.
create or replace view actiond.history_list as
select h.id, h.action_id, h.at, h.event, h.run_id, h.attempt, h.by,
       case when h.detail is null or (select pg_catalog.has_column_privilege('actiond.history', 'detail', 'select'))
            then h.detail else '(hidden)' end as detail,
       h.processor, h.verb, h.verb_id,
       case when h.reason is null or (select pg_catalog.has_column_privilege('actiond.history', 'detail', 'select'))
            then h.reason else '(hidden)' end as reason,
       h.before, h.after
  from actiond.history h;
