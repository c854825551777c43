-- Who may do what. Apply it once, and again whenever you like:
--
--   actiond migrate --roles                                  or, for a DBA:  psql -v ON_ERROR_STOP=1 -f roles.sql
--
-- as a superuser, or as a role that may create roles and owns the schema. Later `actiond migrate` applies it again by
-- itself, after each change of the schema. It makes five roles without login; people and programs get them:
--
--   create role app_worker login password '...' in role actiond_daemon;
--
--   actiond_owner     owns the schema and everything in it; runs migrations, never the daemon
--   actiond_daemon    claims, writes outcomes, rescues; may also ask for work, as handlers do
--   actiond_producer  asks for work, and reads nothing but the ids of rows and what payloads should look like
--   actiond_operator  sees everything; cancels, holds, releases, retries, pauses, tunes, edits schedules; asks for work,
--                     because a verb on many rows is an action
--   actiond_reader    sees everything but payloads, results and the texts of errors
--
-- Rights are given by column: a producer cannot insert a row that was "already run", a daemon cannot change what was
-- asked for, and nobody but the owner deletes. To let a reader see more:
--
--   grant select (data, error, result, state) on actiond.action to somebody;    -- and detail on actiond.history

begin;

do $$
declare
  name text;
begin
  foreach name in array array['actiond_owner', 'actiond_daemon', 'actiond_producer', 'actiond_operator', 'actiond_reader']
  loop
    if pg_catalog.to_regrole(name) is null then
      execute pg_catalog.format('create role %I nologin', name);
    end if;
  end loop;
  -- Who made the roles must be able to give things to the owner, and is no superuser.
  if not pg_catalog.pg_has_role(current_user, 'actiond_owner', 'usage') then
    execute pg_catalog.format('grant actiond_owner to %I', current_user);
  end if;
end $$;

-- Daemons ask for work as handlers do, operators as a bulk verb does; operators see what readers see.
do $$
begin
  if not pg_catalog.pg_has_role('actiond_operator', 'actiond_producer', 'usage') then
    grant actiond_producer to actiond_operator;
  end if;
  if not pg_catalog.pg_has_role('actiond_daemon', 'actiond_producer', 'usage') then
    grant actiond_producer to actiond_daemon;
  end if;
  if not pg_catalog.pg_has_role('actiond_operator', 'actiond_reader', 'usage') then
    grant actiond_reader to actiond_operator;
  end if;
end $$;

-- Everything belongs to the owner: what runs with its owner's rights does not run with those of a superuser.
do $$
declare
  thing record;
begin
  for thing in
    select 'schema actiond' as what, 0 as place
      from pg_catalog.pg_namespace n where n.nspname = 'actiond' and n.nspowner <> 'actiond_owner'::regrole
    union all
    select case c.relkind when 'v' then 'view ' when 'm' then 'materialized view ' when 'S' then 'sequence ' else 'table ' end
           || c.oid::regclass, 1
      from pg_catalog.pg_class c
     where c.relnamespace = 'actiond'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
       and c.relowner <> 'actiond_owner'::regrole
       and not exists (select from pg_catalog.pg_depend d  -- the sequence of an identity column goes with its table
                        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i')
    union all
    select 'routine ' || p.oid::regprocedure, 1
      from pg_catalog.pg_proc p
     where p.pronamespace = 'actiond'::regnamespace and p.proowner <> 'actiond_owner'::regrole
    order by 2
  loop
    execute pg_catalog.format('alter %s owner to actiond_owner', thing.what);
  end loop;
end $$;

-- From here on as the owner, who alone may give rights away.
set local role actiond_owner;

-- What is made later is nobody's until it is given to somebody by name.
alter default privileges for role actiond_owner revoke execute on functions from public;

-- Begin from nothing, so that a right that left this file is gone. Rights given to other roles stay.
do $$
declare
  role text;
  -- Of the tables, also the columns: a right on a column is none on the table, and is not revoked with it.
  owned record;
begin
  foreach role in array array['public', 'actiond_daemon', 'actiond_producer', 'actiond_operator', 'actiond_reader']
  loop
    execute pg_catalog.format('revoke all on schema actiond from %s', role);
    execute pg_catalog.format('revoke all on all tables in schema actiond from %s', role);
    execute pg_catalog.format('revoke all on all sequences in schema actiond from %s', role);
    execute pg_catalog.format('revoke all on all routines in schema actiond from %s', role);
    for owned in
      select distinct a.attrelid::regclass as relation, a.attname as name, acl.privilege_type as privilege
        from pg_catalog.pg_attribute a
       cross join lateral pg_catalog.aclexplode(a.attacl) as acl
       where a.attrelid in (select c.oid from pg_catalog.pg_class c where c.relnamespace = 'actiond'::regnamespace)
         and acl.grantee = case role when 'public' then 0 else pg_catalog.to_regrole(role) end
    loop
      execute pg_catalog.format('revoke %s (%I) on %s from %s', owned.privilege, owned.name, owned.relation, role);
    end loop;
  end loop;
end $$;

grant usage on schema actiond to actiond_daemon, actiond_producer, actiond_operator, actiond_reader;

-- The producer. The id is read by `returning id`; what a payload should look like, to check one before it is sent.
grant insert (processor, data, related, next_eligible_at, priority, retries_left, status, state, parent_id,
              waits_for, waits_on, repeat_every, repeat_missed, trace), select (id)
   on actiond.action to actiond_producer;
grant select (name, payload) on actiond.processor to actiond_producer;
grant select (event, processor) on actiond.subscription to actiond_producer;  -- publish runs with their rights

-- The daemon. Not the columns that say what was asked for and by whom, and nothing of what an operator decides.
grant select on all tables in schema actiond to actiond_daemon;
grant update (status, next_eligible_at, priority, claimed_by, run_id, started_at, finished_at, attempts, retries_left,
              crashes, error, result, state, waits_for, waits_on, repeat_slot)
   on actiond.action to actiond_daemon;
grant insert (id, processor, daemon, actions, started_at, finished_at),
      update (finished_at, completed, failed, retried, deferred, canceled, fenced, returned, waits, times)
   on actiond.run to actiond_daemon;
grant usage on sequence actiond.run_id_seq to actiond_daemon;
grant insert (action_id, at, event, run_id, attempt, detail) on actiond.history to actiond_daemon;
grant insert (host, pid, version, processors, started_at, seen_at, lease_until, locks),
      update (processors, seen_at, lease_until, ended_at, ended, ticked_at)
   on actiond.daemon to actiond_daemon;
grant insert (name, declared, built_in, payload, redact), update (declared, built_in, payload, redact, woken_at)
   on actiond.processor to actiond_daemon;
grant insert (processor, tokens, tokens_at, recent, opened_at, open_until, failed_probes, probe_run),
      update (tokens, tokens_at, recent, opened_at, open_until, failed_probes, probe_run)
   on actiond.brake to actiond_daemon;
grant update (next_at, last_at, last_action, fired, missed_slots, overlapped, error, edition)
   on actiond.schedule to actiond_daemon;
grant update (last_run, last_run_at, last_run_clean) on actiond.plan to actiond_daemon;
grant insert, update on actiond.run_hour to actiond_daemon;
grant update (upto) on actiond.fold to actiond_daemon;

-- The reader: of actions and history not what may hold somebody's data.
grant select (id, processor, status, related, priority, attempts, retries_left, crashes, next_eligible_at, created_at,
              created_by, started_at, finished_at, claimed_by, run_id, parent_id, waits_for, waits_on, repeat_every,
              repeat_missed, repeat_slot, trace, xmax)              -- xmax: is somebody holding it locked?
   on actiond.action to actiond_reader;
grant select (id, action_id, processor, at, event, run_id, attempt, by, verb, verb_id, before, after, xid)
   on actiond.history to actiond_reader;
grant select on actiond.daemon, actiond.processor, actiond.brake, actiond.run, actiond.run_hour, actiond.fold,
                actiond.setting, actiond.schedule, actiond.plan, actiond.subscription, actiond.migration
   to actiond_reader;

-- The operator. Every change of a status by hand is judged and recorded by a trigger. Not `uses` and `config`: they can
-- name a function that the daemon then calls with its own rights.
grant select on all tables in schema actiond to actiond_operator;
grant update (status, next_eligible_at, retries_left, priority, error, state) on actiond.action to actiond_operator;
grant update (enabled, batch_size, concurrency, global_concurrency, retries, retry_interval, backoff, retry_max_interval,
              timeout, start_delay, run_on_insert, history, rate, burst, breaker, breaker_outcomes, breaker_pause,
              breaker_max_pause, flag, "window", woken_at)
   on actiond.processor to actiond_operator;
grant update (recent, opened_at, open_until, failed_probes, probe_run)  -- to close a breaker
   on actiond.brake to actiond_operator;
grant insert (name, value), update (value), delete on actiond.setting to actiond_operator;
grant insert (name, processor, cron, every, timezone, starts_at, data, related, priority, enabled, name_enabled, missed,
              grace, overlap, environments, flag),
      update (cron, every, timezone, starts_at, data, related, priority, enabled, name_enabled, missed, grace, overlap,
              environments, flag, next_at, last_at, last_action, fired, missed_slots, overlapped, error, edition), delete
   on actiond.schedule to actiond_operator;
grant insert (event, processor), delete on actiond.subscription to actiond_operator;
-- Not the source of a plan: a daemon runs it with its own rights. The owner writes plans, operators run them.
grant update (enabled) on actiond.plan to actiond_operator;

-- Functions that only read do so with the rights of whoever calls them, so all who look get all of those. The others,
-- by name and with any arguments.
do $$
declare
  given record;
begin
  for given in
    select p.oid::regprocedure as routine, 'actiond_daemon, actiond_operator, actiond_reader' as roles
      from pg_catalog.pg_proc p
     where p.pronamespace = 'actiond'::regnamespace and p.provolatile <> 'v' and not p.prosecdef
    union all
    select p.oid::regprocedure, g.roles
      from (values
        ('now',           'actiond_daemon, actiond_producer, actiond_reader'),
        ('lock_class',    'actiond_producer'),  -- these three are called by the trigger,
        ('lock_key',      'actiond_producer'),  -- as whoever inserts
        ('refuse_forged', 'actiond_producer'),
        ('enqueue',       'actiond_producer'),
        ('publish',       'actiond_producer'),
        ('wake',          'actiond_daemon, actiond_operator'),
        ('call_for_row',  'actiond_daemon'),
        ('call_for_batch', 'actiond_daemon'),
        ('act',           'actiond_daemon, actiond_operator'),  -- a daemon may change any status anyway
        ('cancel',        'actiond_daemon, actiond_operator'),
        ('hold',          'actiond_daemon, actiond_operator'),
        ('release',       'actiond_daemon, actiond_operator'),
        ('retry',         'actiond_daemon, actiond_operator'),
        ('run_now',       'actiond_daemon, actiond_operator'),
        ('cancel_family', 'actiond_daemon, actiond_operator'),
        ('verb_step',     'actiond_daemon, actiond_operator'),
        ('purge',         'actiond_daemon'),  -- with the rights of the owner: nobody else deletes
        ('bulk',          'actiond_operator'),
        ('plan_run',      'actiond_operator'),
        ('pause',         'actiond_operator'),
        ('resume',        'actiond_operator'),
        ('set_processor', 'actiond_operator'),
        ('set_flag',      'actiond_operator'),
        ('flag_on',       'actiond_daemon, actiond_producer, actiond_reader'),
        ('write_knob',    'actiond_operator'),
        ('write_setting', 'actiond_operator')) as g (name, roles)
      join pg_catalog.pg_proc p on p.pronamespace = 'actiond'::regnamespace and p.proname = g.name
  loop
    execute pg_catalog.format('grant execute on routine %s to %s', given.routine, given.roles);
  end loop;
end $$;

-- Views show no more than whoever looks may see (see sql/functions/090_views.sql), so readers get all of them, and the
-- functions that they are made of, which Postgres calls as whoever looks.
do $$
declare
  given record;
begin
  for given in
    select 'select on ' || c.oid::regclass as what
      from pg_catalog.pg_class c where c.relnamespace = 'actiond'::regnamespace and c.relkind = 'v'
    union
    select 'execute on routine ' || p.oid::regprocedure
      from pg_catalog.pg_class c
      join pg_catalog.pg_rewrite r on r.ev_class = c.oid
      join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_proc'::regclass
      join pg_catalog.pg_proc p on p.oid = d.refobjid and p.pronamespace = 'actiond'::regnamespace
     where c.relnamespace = 'actiond'::regnamespace and c.relkind = 'v'
  loop
    execute pg_catalog.format('grant %s to actiond_daemon, actiond_operator, actiond_reader', given.what);
  end loop;
end $$;

commit;
