-- plan_end: a run is over: the plan remembers it, the report goes out, the plan that follows is asked for.
--   $1 name text, $2 run bigint, $3 report text (JSON), $4 clean bool (every action completed), $5 rows bigint
--   returns followed bigint (the run that was asked for, or NULL)
--   called by: plan
with ended as (
  update actiond.plan p set last_run = $2, last_run_at = actiond.now(), last_run_clean = $4
   where p.name = $1
  returning p.notify, p.notify_processor, p.then_plan, p.then_on),
told as (
  select e.notify_processor as processor
    from ended e
   where e.notify = 'always' or e.notify = 'errors' and not $4::boolean or e.notify = 'rows' and $5::bigint > 0),
rung as materialized (
  select pg_notify('actiond_events', left($3::text, 7900)) as _ from told),
reported as (
  insert into actiond.action (processor, related, data)
  select t.processor, 'plan ' || $1, $3::text::jsonb from told t where t.processor is not null),
followed as (
  insert into actiond.action (processor, related, data)
  select 'actiond.plan', 'plan ' || p.name, jsonb_build_object('plan', p.name)
    from ended e join actiond.plan p on p.name = e.then_plan and p.enabled
   where e.then_on = 'always' or (e.then_on = 'success') = $4::boolean
  returning id)
select (select f.id from followed f) as followed, (select count(*) from rung) as rung
