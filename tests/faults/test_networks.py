"""Three daemons on three hosts: one is cut off, and comes back; packets are lost. No row is lost or done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from support.daemon import COMMAND, Daemon
from support.database import eventually
from support.networks import Network, network
from support.rows import ask, completed_once, events, look, nothing_claimed, until
from support.servers import WORK, at_most_once_a_minute, free_port, own_server

pytestmark = pytest.mark.slow

# The lease as it is by default: how long a host that is cut off costs is the figure.
ENV = {"ACTIOND_TLS": "off", "ACTIOND_POLL_INTERVAL_S": "1"}


@pytest.fixture
def hosts():
    with network(3) as made:
        yield made


@asynccontextmanager
async def reached_by(made: Network) -> AsyncIterator[tuple[PrivatePostgres, str]]:
    """A server, and its DSN for the hosts."""
    async with own_server(port=free_port(), listen_addresses=f"127.0.0.1,{made.address}") as server:
        with (server.root / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {made.block} scram-sha-256\n")
        conn = await asyncpg.connect(server.dsn("postgres"))
        await conn.execute("select pg_reload_conf()")
        await conn.close()
        yield server, server.dsn("postgres").replace("127.0.0.1", made.address)


async def test_a_host_that_is_cut_off_is_taken_over_from_and_comes_back(hosts, start, processor_file, measured) -> None:
    async with reached_by(hosts) as (server, dsn):
        file = processor_file(WORK)
        conn = await asyncpg.connect(server.dsn("postgres"))
        cut: Daemon = start(dsn, file, env=ENV, command=hosts.hosts[0].within(COMMAND))
        await cut.ready()
        [long] = await ask(conn, "long")
        await cut.says("begun")
        others = [start(dsn, file, env=ENV, command=host.within(COMMAND)) for host in hosts.hosts[1:]]
        for each in others:
            await each.ready()
        ids = await ask(conn, "one", *[{}] * 500)
        await eventually(lambda: claimed_by_the_first(conn))
        hosts.hosts[0].cut_off()
        cut_s = time.monotonic()
        ids += await ask(conn, "one", *[{}] * 500)
        await until(conn, [*ids, long], "completed")
        measured(taken_over_s=round(time.monotonic() - cut_s, 1))
        await eventually(lambda: any(each.heard("rows_rescued") for each in others))
        await cut.says("lease_lost")
        hosts.hosts[0].connect()
        back_s = time.monotonic()
        await cut.says("daemon_registered", times=2)
        await cut.says("listener_restored")
        measured(back_s=round(time.monotonic() - back_s, 1))
        for each in others:
            each.kill()
        again = await ask(conn, "one", *[{}] * 100)
        await until(conn, again, "completed")  # by the one that was cut off: nobody else is left
        await completed_once(conn, [*ids, *again])
        assert await events(conn, long) == ["crashed", "completed"] or (await look(conn, [long]))[0]["attempts"] == 2
        await eventually(lambda: nothing_claimed(conn))
        at_most_once_a_minute(cut)
        await conn.close()


async def claimed_by_the_first(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("select exists (select from actiond.run where daemon = 1 and processor = 'one')"))


async def test_lost_packets_cost_time_and_nothing_else(hosts, start, processor_file, measured) -> None:
    async with reached_by(hosts) as (server, dsn):
        file = processor_file(WORK)
        conn = await asyncpg.connect(server.dsn("postgres"))
        daemons = [start(dsn, file, env=ENV, command=host.within(COMMAND)) for host in hosts.hosts]
        for each in daemons:
            await each.ready()
        how = {host.lose() for host in hosts.hosts}
        began_s = time.monotonic()
        ids = await ask(conn, "one", *[{"text": "x" * 2_000}] * 3_000)
        await until(conn, ids, "completed")
        measured(how=" ".join(how), packets_lost=sum(host.lost for host in hosts.hosts))
        measured(rows_a_second=round(len(ids) / (time.monotonic() - began_s)))
        assert all(host.lost for host in hosts.hosts)
        await completed_once(conn, ids)
        await eventually(lambda: nothing_claimed(conn))
        assert len(await conn.fetch("select distinct daemon from actiond.run where processor = 'one'")) == 3
        assert [each.heard("lease_lost") for each in daemons] == [[], [], []]
        await asyncio.to_thread(lambda: [each.kill() for each in daemons])
        await conn.close()
