-- plan_list: the plans, or one.
--   $1 name text, or NULL
--   returns the columns of actiond.plan (mapping as text), query, flag_on boolean, and of the run that is open: running bigint, known
--     boolean (the processor is)
--   called by: plan_edit.plans
select p.name, p.description, p.source, p.key, p.processor, p.mapping::text as mapping, p.page, p.enabled, p.overlap,
       p.abort_percent, p.then_plan, p.then_on, p.notify, p.notify_processor, p.flag, actiond.flag_on(p.flag) as flag_on, p.last_run, p.last_run_at,
       p.last_run_clean, p.edition, p.updated_at, p.updated_by, actiond.plan_query(p.source) as query,
       (select min(a.id) from actiond.action a
         where a.processor = 'actiond.plan' and a.data ->> 'plan' = p.name and a.status in ('pending', 'held')) as running,
       exists (select from actiond.processor r where r.name = p.processor) as known
  from actiond.plan p
 where $1::text is null or p.name = $1
 order by p.name
