-- Actions with the names and statuses that users of the AsyncJob framework know.
create or replace view actiond.job_list as
select a.id,
       'AsyncJob-' || lpad(a.id::text, 9, '0') as job,
       a.processor as job_name,
       a.data as params,
       initcap(case when a.status = 'running' then 'in progress'
                    when a.status = 'pending' then 'queued'
                    when a.status = 'held' then 'hold'
                    else a.status end) as status,
       a.next_eligible_at as schedule_time,
       a.state ->> 'retry_every' as retry_interval,
       a.attempts as execution_count,
       a.attempts + a.retries_left + (a.status = 'pending')::int as max_execution_count,
       a.repeat_every is not null as is_recursive,
       a.started_at as last_execution_time,
       coalesce(a.error, a.result::text) as result_log,
       a.parent_id as parent_job
  from actiond.action_list a;
