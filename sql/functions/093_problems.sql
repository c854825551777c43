-- What needs somebody: failures, errors that are the same, rows that nobody takes, rows that do not move.

-- The latest failures of all processors, or of one; newest first.
create or replace function actiond.recent_failures(
  within interval default '24 hours', most integer default 100, processor text default null)
returns setof actiond.action_list
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  (select l.* from actiond.action_list l
    where $3 is null and l.stored_status = 'failed' and l.finished_at >= (select actiond.now() - $1)
    order by l.finished_at desc limit $2)
  union all
  (select l.* from actiond.action_list l
    where l.processor = $3 and l.stored_status = 'failed' and l.finished_at >= (select actiond.now() - $1)
    order by l.finished_at desc limit $2)
$$;

-- The latest failures grouped by what is the same in their errors; the most frequent first. looked_at: so many of the
-- latest failed rows were looked at; more: there are older ones within that time which were not.
create or replace function actiond.errors(
  within interval default '7 days', look_at integer default 2000, processor text default null)
returns table (processor text, fingerprint text, failures bigint, first_at timestamptz, last_at timestamptz,
               example bigint, example_error text, looked_at integer, more boolean)
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with latest as materialized (
    select f.id, f.processor, f.finished_at, coalesce(f.error, '') as error, row_number() over () as place
      from actiond.recent_failures($1, $2 + 1, $3) f),
  known as (  -- each text once: taking it apart is what costs
    select l.processor, l.error, count(*) as n, min(l.finished_at) as first_at, max(l.finished_at) as last_at,
           max(l.id) as id
      from latest l where l.place <= $2 group by l.processor, l.error),
  marked as materialized (select k.*, actiond.fingerprint(k.error) as print from known k)
  select m.processor, m.print, sum(m.n)::bigint, min(m.first_at), max(m.last_at), max(m.id),
         (array_agg(m.error order by m.id desc))[1],
         (select least(count(*), $2) from latest)::integer, (select count(*) > $2 from latest)
    from marked m
   group by m.processor, m.print
   order by sum(m.n) desc, max(m.last_at) desc, m.processor, m.print
$$;

-- The latest 2,000 failures of the last seven days.
create or replace view actiond.stats_errors as select e.* from actiond.errors('7 days', 2000) e;

-- Processors that rows wait for; hops from one to the next in the index.
create or replace function actiond.processors_waited_for() returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive found (name) as (
    (select a.processor from actiond.action a where a.status = 'pending' order by a.processor limit 1)
    union all
    select (select a.processor from actiond.action a
             where a.status = 'pending' and a.processor > f.name order by a.processor limit 1)
      from found f where f.name is not null)
  select f.name from found f where f.name is not null
$$;

create or replace function actiond.serving(processor text) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)::integer from actiond.daemon d
   where d.ended_at is null and d.lease_until > (select actiond.now()) and $1 = any(d.processors)
$$;

-- Rows that wait and that no live daemon will take, a line for each processor: unknown = no daemon ever had it, and it
-- is probably misspelt. waiting stops counting at 10,000.
create or replace view actiond.orphans as
select n.name as processor, p.name is not null as known, w.waiting, w.example, w.due_since
  from actiond.processors_waited_for() as n (name)
  left join actiond.processor p on p.name = n.name
 cross join lateral (
   select count(*)::integer as waiting, min(x.id) as example, min(x.next_eligible_at) as due_since
     from (select a.id, a.next_eligible_at from actiond.action a
            where a.processor = n.name and a.status = 'pending' and a.claimed_by = 0
            order by a.processor, a.priority, a.next_eligible_at, a.id limit 10000) x) w
 where w.waiting > 0 and actiond.serving(n.name) = 0;

-- Actions that do not move: held by a daemon that does not answer, running for long, or due for long and not taken.
-- The worst kind first, then the oldest.
create or replace function actiond.stuck(
  after interval default '30 minutes', most integer default 100, processor text default null)
returns table (id bigint, ref text, processor text, kind text, since timestamptz, for_s float8, daemon integer,
               run_id bigint, attempts integer, why text)
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with clock as materialized (select actiond.now() as at),
  held as (
    select l.id, l.processor, l.started_at as since, l.daemon, l.run_id, l.attempts,
           d.id is null or d.ended_at is not null or d.lease_until <= clock.at as lost
      from clock, actiond.running_actions l left join actiond.daemon d on d.id = l.daemon
     where $3 is null or l.processor = $3),
  names as (select n.name from actiond.processors_waited_for() as n (name) where $3 is null or n.name = $3),
  late as (
    select x.id, n.name as processor, x.next_eligible_at as since, x.attempts
      from names n cross join unnest('{0,1,2,3}'::int2[]) as l (level)
     cross join lateral (
       select a.id, a.next_eligible_at, a.attempts from actiond.action a
        where a.processor = n.name and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
          and a.next_eligible_at <= (select c.at - $1 from clock c)
        order by a.next_eligible_at, a.id limit $2) x),
  found as (
    (select 1 as rank, h.id, h.processor, 'lost' as kind, h.since, h.daemon, h.run_id, h.attempts,
            'daemon ' || h.daemon || ' does not answer; another one rescues its rows' as why
       from held h where h.lost order by h.since limit $2)
    union all
    (select 2, h.id, h.processor, 'running', h.since, h.daemon, h.run_id, h.attempts,
            'run ' || h.run_id || ' on daemon ' || h.daemon || ' has not ended it'
       from held h, clock where not h.lost and h.since <= clock.at - $1 order by h.since limit $2)
    union all
    (select 3, w.id, w.processor, 'waiting', w.since, null, null, w.attempts,
            case when p.name is null then 'no daemon ever had this processor'
                 when actiond.serving(w.processor) = 0 then 'no live daemon has this processor'
                 when not coalesce(p.enabled, (p.declared ->> 'enabled')::boolean, true) then 'the processor is disabled'
                 when not s.flag_on then 'the flag of the processor is off'
                 when s.opens_at is not null then 'the window of the processor is closed'
                 when b.breaker in ('open', 'probing') then 'the breaker of the processor is open'
                 when b.token_in_s > 0 then 'the processor is held to ' || b.rate
                 else 'due, and not taken yet' end
       from (select l.* from late l order by l.since limit $2) w left join actiond.processor p on p.name = w.processor
       left join actiond.brake_list b on b.processor = w.processor
       left join actiond.switch_list s on s.processor = w.processor))
  select f.id, 'A-' || lpad(f.id::text, 8, '0'), f.processor, f.kind, f.since,
         greatest(0, extract(epoch from clock.at - f.since))::float8, f.daemon, f.run_id, f.attempts, f.why
    from found f, clock
   order by f.rank, f.since, f.id limit $2
$$;
