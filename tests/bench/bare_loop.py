"""The yardstick: the plain queue that anybody could write, drained as fast as one connection can.

The same row as actiond.action (columns, checks, payload), a status that the claim sets to running by
SKIP LOCKED, outcomes row by row through unnest, both statements prepared, 500 rows at a time, each statement a
commit of its own. It has what makes it fast: one index made for its claim, plans that never scan the table, the
fillfactor that suits it best of 100, 70 and 45, uvloop if that is installed, no decoding of payloads, no
trigger. It lacks what it does not need while nothing goes wrong: a fence, run rows, history, priorities, several
processors, somebody who notices that it died.

Frozen: figures of different days compare only while this file stays as it is.

As a program (`python -m tests.bench.bare_loop DSN`) it says "ready", waits for a line, drains, says how many rows
that were, and stays connected until its input ends.
"""

from __future__ import annotations

import sys

import anyio
import asyncpg

from actiond.host import extras

BATCH = 500

TABLE = """
create schema bare;
create table bare.action (
  id               bigint      generated always as identity primary key,
  next_eligible_at timestamptz not null default now(),
  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  run_id           bigint      not null default 0,
  claimed_by       integer     not null default 0,
  attempts         integer     not null default 0,
  retries_left     integer,
  crashes          smallint    not null default 0,
  priority         smallint    not null default 2,
  processor        text        not null,
  status           text        not null default 'pending',
  related          text,
  created_by       text        not null default session_user,
  data             jsonb       not null default '{}',
  error            text,
  result           jsonb,
  state            jsonb,
  check (processor <> '' and length(processor) <= 255),
  check (status in ('pending', 'running', 'held', 'completed', 'failed', 'canceled')),
  check (priority between 0 and 3),
  check (retries_left >= 0),
  check (next_eligible_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'),
  check (pg_column_size(data) <= 262144),
  check (pg_column_size(result) <= 262144),
  check (pg_column_size(state) <= 262144),
  check (length(related) <= 1000),
  check (length(error) <= 1000)
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
create index action_due on bare.action (next_eligible_at, id) where status = 'pending';
"""

#: Without these a short backlog is scanned and hashed at each claim, at a third of the speed.
SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

CLAIM = f"""
with next as materialized (
  select id from bare.action
   where status = 'pending' and next_eligible_at <= now()
   order by next_eligible_at, id
   limit {BATCH}
     for no key update skip locked)
update bare.action a
   set status = 'running', started_at = clock_timestamp(), attempts = a.attempts + 1
  from next
 where a.id = next.id
returning a.id, a.related, a.data::text as data
"""

COMPLETE = """
update bare.action a
   set status = o.status, error = o.error, finished_at = clock_timestamp()
  from unnest($1::bigint[], $2::text[], $3::text[]) as o (id, status, error)
 where a.id = o.id and a.status = 'running'
"""


async def drain(connection: asyncpg.Connection) -> int:
    """Claim and complete until nothing is left; gives how many rows that were."""
    claim, complete = await connection.prepare(CLAIM), await connection.prepare(COMPLETE)
    drained = 0
    while rows := await claim.fetch():
        ids = [row["id"] for row in rows]
        await complete.fetch(ids, ["completed"] * len(ids), [None] * len(ids))
        drained += len(ids)
    return drained


async def main(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings=SETTINGS)
    print("ready", flush=True)
    sys.stdin.readline()
    print(await drain(connection), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend_options={"use_uvloop": extras.uvloop_installed()})
