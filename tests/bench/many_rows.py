"""Five million finished and 200,000 waiting rows, as a month of work would have left them; made in a minute or two.

Twelve processors: ten that work in batches of 200, `one_at_a_time` with a run for each action (so half a million
runs), and `rare`, whose few rows lie at the very beginning. One in a hundred failed, for five reasons with different
numbers in them; a few are held, canceled, or being run. Triggers are off meanwhile: nobody rings, nobody is refused.
"""

from __future__ import annotations

import asyncpg

from actiond.postgres.statements import Statements

FINISHED = 5_000_000
WAITING = 200_000
RARE = 12
MONTH_S = 30 * 86400

_FINISHED = """
insert into actiond.action (processor, status, data, related, attempts, started_at, created_at, next_eligible_at,
                            finished_at, run_id, retries_left, error, result)
select case when n <= {rare} then 'rare' when n % 10 = 0 then 'one_at_a_time' else 'batch_' || n / 200 % 10 end,
       s.status, jsonb_build_object('n', n, 'to', 'user' || n || '@example.org'),
       case when n % 20 = 0 then 'order ' || n / 100 end, 1 + (n % 50 = 0)::int, t.at, t.at - interval '2 s',
       t.at - interval '2 s', t.at + interval '300 ms',
       case when n % 10 = 0 then 1000000000 + n else 1 + n / 200 end, 3,
       case when s.status = 'failed' then (array[
         'HTTP 503 from bank.example.org after ' || n % 977 || ' ms', 'card declined for user ' || n,
         'ValidationError: "user' || n || '" is not a valid e-mail address',
         'timeout: request ' || md5(n::text) || ' took 30.0 s',
         'deadlock detected: process ' || n % 5000 || ' waits for ShareLock'])[1 + n / 100 % 5] end,
       case when s.status = 'completed' then to_jsonb(n) end
  from generate_series({first}, {last}) as g (n)
 cross join lateral (select case when n % 100 = 99 then 'failed' when n % 10000 = 7 then 'canceled'
                                 else 'completed' end as status) s
 cross join lateral (select now() - interval '70 s' - make_interval(secs => {month_s} * (1 - n / {count}::float8))
                            as at) t
"""
#: Of 20 rows that fell into a batch of 200 only 18 have it: the others ran alone.
_RUNS = """
insert into actiond.run (id, processor, daemon, actions, started_at, finished_at, completed, failed, retried, waits,
                         times)
select 1 + b, case when b = 0 then 'rare' else 'batch_' || b % 10 end, 1,
       array(select generate_series(b * 200 + 1, b * 200 + 180)),
       t.at, t.at + interval '300 ms', 178, 2, 4, '{{0,0,3,40,80,50,7}}'::int[], '{{0,0,0,0,0,0,0,0,0,180}}'::int[]
  from generate_series(0, {count} / 200 - 1) as g (b)
 cross join lateral (select now() - interval '70 s' - make_interval(secs => {month_s} * (1 - b * 200 / {count}::float8))
                            as at) t
union all
select 1000000000 + n, 'one_at_a_time', 1, array[n], t.at, t.at + interval '300 ms', 1, 0, 0, '{{0,1}}'::int[],
       '{{0,0,0,0,0,0,0,0,0,1}}'::int[]
  from generate_series(10, {count}, 10) as g (n)
 cross join lateral (select now() - interval '70 s' - make_interval(secs => {month_s} * (1 - n / {count}::float8))
                            as at) t
"""
_WAITING = """
insert into actiond.action (processor, data, priority, next_eligible_at, status)
select case when n % 1000 = 1 then 'misspelt' else 'batch_' || n % 10 end,
       jsonb_build_object('n', n, 'to', 'user' || n || '@example.org'), n % 4,
       now() + case when n % 2 = 0 then 1 else -1 end * make_interval(secs => n % 7200),
       case when n % 400 = 3 then 'held' else 'pending' end
  from generate_series(1, {waiting}) as g (n)
"""
_RUNNING = """
with mine as (
  update actiond.action set claimed_by = d.id, run_id = -1, started_at = now() - interval '1 h', attempts = 1
    from (select max(id) as id from actiond.daemon) d
   where actiond.action.id in (
     select id from actiond.action where status = 'pending' and processor = 'batch_1' order by id desc limit 500)
  returning actiond.action.id, claimed_by)
insert into actiond.run (id, processor, daemon, actions, started_at)
select -1, 'batch_1', min(claimed_by), array_agg(id), now() - interval '1 h' from mine
"""
_REST = """
insert into actiond.history (action_id, at, event, run_id, attempt, detail)
select n, now() - make_interval(secs => (200000 - n) * 10), case when n % 4 = 0 then 'failed' else 'retried' end,
       1 + n / 200, 1 + n % 3, 'HTTP 503 from bank.example.org'
  from generate_series(1, 200000) as g (n);
insert into actiond.processor (name, declared)
select 'batch_' || n, '{"batch_size": 200}'::jsonb from generate_series(0, 9) as g (n)
union all select 'one_at_a_time', '{}'::jsonb union all select 'rare', '{}'::jsonb;
insert into actiond.daemon (host, processors, lease_until)
select 'here', array['one_at_a_time', 'rare'] || array_agg('batch_' || n), now() + interval '1 day'
  from generate_series(0, 9) as g (n);
"""
_PIECE = 500_000


async def make(connection: asyncpg.Connection, finished: int = FINISHED, waiting: int = WAITING) -> None:
    """All of it, vacuumed and analyzed as autovacuum would have; the hours folded as a daemon would have."""
    await connection.execute("set session_replication_role = replica")
    await connection.execute(_REST)
    values = {"rare": RARE, "month_s": MONTH_S, "count": finished}
    for first in range(1, finished + 1, _PIECE):
        last = min(first + _PIECE - 1, finished)
        await connection.execute(_FINISHED.format(first=first, last=last, **values), timeout=120)
    await connection.execute(_RUNS.format(**values), timeout=120)
    await connection.execute(_WAITING.format(waiting=waiting), timeout=120)
    await connection.execute("set session_replication_role = default")
    await connection.execute("vacuum (analyze) actiond.action, actiond.run, actiond.history", timeout=240)
    await connection.execute(_RUNNING, timeout=60)


async def fold(connection: asyncpg.Connection) -> int:
    """Until every run is in its hour; gives how many were."""
    sql, folded = Statements(), 0
    upto = await connection.fetchval(sql["fold_until"])
    while (row := await connection.fetchrow(sql["fold_runs"], upto, 5_000, timeout=60)) is not None:
        folded += row["folded"]
    return folded
