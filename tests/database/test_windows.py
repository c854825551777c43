"""Windows in the database: it reads hours as the daemon does, refuses what makes no sense; and the loop sleeps."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from actiond.contract.policy import Policy
from actiond.postgres.processor_store import ProcessorStore
from actiond.postgres.statements import Statements
from actiond.rules.cron import next_change
from actiond.rules.gate import Shut
from actiond.rules.window import Window, written
from support.clock import set_now
from support.one_loop import Daemon, looks
from support.work import insert

#: None whose law was changed lately: the server and Python may have databases of zones of different years.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/St_Johns", "Australia/Lord_Howe",
    "Asia/Kathmandu", "Pacific/Chatham", "Asia/Beirut", "Antarctica/Troll",
)  # fmt: skip
HOURS = (
    "22:00-06:00", "02:15-02:45", "00:00-24:00", "23:30-00:30", "Sun 02:15-02:45", "Sat 22:00-06:00",
    "Mon-Fri 22:00-06:00, Sat-Sun 00:00-24:00", "Fri-Mon 12:00-02:00, Wed 02:30-02:31", "Sun 20:00-24:00",
)  # fmt: skip
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def instants(name: str) -> list[datetime]:
    """Times around each change of the clocks of a year, after the last hours that it leaves, and in between."""
    at, end, found = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), []
    draw = random.Random(f"{name} 2026")
    while (change := next_change(ZoneInfo(name), at, end)) is not None:
        near = (-9 * 86_400, -7 * 86_400 + 2760, -86_400, -7200, -1, 0, 1, 1800, 5400, 86_400)
        found += [change + timedelta(seconds=each) for each in near]
        at = change
    return found + [
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.randrange(86_400 * 365)) for _ in range(9)
    ]


@pytest.mark.parametrize("name", ZONES)
async def test_the_database_says_what_the_daemon_says(conn: asyncpg.Connection, name: str) -> None:
    asked = [(f"{hours} {name}", at) for hours in HOURS for at in instants(name)]
    said = await conn.fetch(
        "select w, at, actiond.window_opens_at(w, at) as opens_at"
        " from unnest($1::text[], $2::timestamptz[]) with ordinality as a (w, at, place) order by place",
        [text for text, _ in asked],
        [at for _, at in asked],
    )
    for row in said:
        window = Window.of(row["w"])
        assert window is not None
        expected = row["at"] if window.open(row["at"]) else window.turns_at(row["at"])
        assert row["opens_at"] == expected, tuple(row)


async def test_without_a_window_it_is_always_open(conn) -> None:
    for nothing in (None, "none"):
        assert await conn.fetchval("select actiond.window_opens_at($1, $2)", nothing, NOON) == NOON


@pytest.mark.parametrize("hours", HOURS)
async def test_what_the_code_writes_the_table_takes(conn, hours: str) -> None:
    await conn.execute("insert into actiond.processor (name, \"window\") values ('p', $1)", written(hours))
    await conn.execute('update actiond.processor set "window" = $1', written(f"{hours} America/Argentina/Buenos_Aires"))


@pytest.mark.parametrize(
    "text",
    [
        "at night", "22:00-06:00", "22:00-06:00 ", "8:00-18:00 UTC", "24:00-06:00 UTC", "22:00-25:00 UTC",
        "Mo 22:00-06:00 UTC", "22:00-06:00,UTC", "22:00-06:00, UTC", "22:00-06:00 Sat 10:00-12:00 UTC",
        "22:00-06:00 Europe/Berlinn", "22:00-06:00 europe/berlin", "22:00-06:00 CEST-2",
    ],
)  # fmt: skip
async def test_what_makes_no_sense_the_table_refuses(conn, text: str) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    with pytest.raises(asyncpg.PostgresError, match=r"window_is_hours_and_a_zone|there is no time zone"):
        await conn.execute('update actiond.processor set "window" = $1', text)


async def test_a_zone_that_the_code_declares_and_the_server_lacks_spoils_no_list(conn) -> None:
    declared = '{"window": "22:00-06:00 Mars/Olympus"}'
    await conn.execute("insert into actiond.processor (name, declared) values ('p', $1)", declared)
    (row,) = await conn.fetch("select * from actiond.switch_list")
    assert (row["window"], row["opens_at"]) == ("22:00-06:00 Mars/Olympus", None)


async def test_a_poll_brings_the_window_and_what_time_it_is(conn, pool) -> None:
    await set_now(conn, "2030-01-01 12:00+00")
    await conn.execute("insert into actiond.processor (name, \"window\", flag) values ('p', '22:00-06:00 UTC', 'new')")
    poll = await ProcessorStore(pool, Statements()).poll()
    assert poll.now == NOON
    overrides = poll.processors["p"].overrides
    assert (overrides["window"], overrides["flag"]) == ("22:00-06:00 UTC", "new")
    assert (await ProcessorStore(pool, Statements()).poll()).flags == {}


# The loop


async def test_the_loop_sleeps_until_the_window_opens_and_asks_for_nothing_before(conn, pool) -> None:
    await set_now(conn, "2030-01-01 12:00+00")
    await insert(conn, 3)
    daemon = Daemon(pool, 1, Policy(window="22:00-06:00 UTC", rate="1000/s"))
    daemon.world.clock.told(NOON)
    for _ in range(5):
        wait_s = await looks(daemon)
        assert wait_s is not None
        assert 35_900 < wait_s <= 36_000
    assert (daemon.loop.shut(), daemon.asked, daemon.got) == ([Shut.WINDOW_CLOSED], 0, [])
    daemon.world.clock.told(NOON + timedelta(hours=10))
    await looks(daemon)
    assert len(daemon.got) == 3
    assert daemon.loop.shut() == []


async def test_what_was_claimed_and_has_not_begun_goes_back_when_the_window_closes(conn, pool) -> None:
    daemon = Daemon(pool, 1, Policy(window="22:00-06:00 UTC", run_on_insert=False))
    daemon.world.clock.told(NOON + timedelta(hours=17))
    daemon.in_hand = 2
    wait_s = await looks(daemon)
    assert wait_s is not None
    assert 3500 < wait_s <= 3600  # so that it looks again when the window closes
    daemon.world.clock.told(NOON + timedelta(hours=18))
    await looks(daemon)
    assert daemon.put_backs == 1


async def test_with_nothing_in_hand_nobody_wakes_to_close_a_window(conn, pool) -> None:
    daemon = Daemon(pool, 1, Policy(window="22:00-06:00 UTC", run_on_insert=False))
    daemon.world.clock.told(NOON + timedelta(hours=17))
    assert await looks(daemon) is None


async def test_a_flag_that_is_off_puts_back_and_claims_nothing(conn, pool) -> None:
    await insert(conn, 3)
    daemon = Daemon(pool, 1, Policy(flag="new"))
    assert await looks(daemon) is None
    assert (daemon.loop.shut(), daemon.got, daemon.put_backs) == ([Shut.FLAG_OFF], [], 1)
    daemon.world.flags = {"new": True}
    await looks(daemon)
    assert (len(daemon.got), daemon.put_backs) == (3, 1)
