"""actiond top: look, draw, wait for a key or for the next look; the terminal is restored however it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator

import anyio
import click
from rich.console import Console
from rich.live import Live

from actiond.cli.asking import ask, dsn_option
from actiond.cli.keys import next_keys, single_keys
from actiond.cli.looking import all_option, duration_option
from actiond.cli.top_screen import SORTS, View, frame
from actiond.postgres import figures, read
from actiond.postgres.connection import Connection
from actiond.postgres.figures import Rows
from actiond.words.errors import OperatorError

_FAILURES_S = 7 * 86400.0
_FAILURES = 100
_SHORTEST_S = 0.2
_LINES = 1_000  # of a frame that nobody scrolls


@click.command("top")
@duration_option("--every", "2 s", "How long between two looks.")
@click.option(
    "--sort", type=click.Choice(list(SORTS)), default="processor", show_default=True, help="By this, at first."
)
@all_option
@click.option("--once", is_flag=True, help="One look, without a screen and keys: for scripts and mail.")
@dsn_option
def command(every: float, sort: str, everything: bool, once: bool, dsn: str | None) -> None:
    """A live screen: processors, rates, ages, problems.

    Keys: q quit, s sort by the next column, arrows or j and k select, enter shows its failures, esc goes back.
    """
    view = View(sort=sort, everything=everything)
    if once:
        ask(dsn, lambda c: _once(c, view))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OperatorError("top needs a terminal; elsewhere use `actiond top --once` or `actiond status --json`")
    ask(dsn, lambda c: _live(c, view, max(every, _SHORTEST_S)))


async def _once(connection: Connection, view: View) -> None:
    Console().print(frame(view, await read.status(connection), [], _LINES))


async def _live(connection: Connection, view: View, every_s: float) -> None:
    console, terminal = Console(), sys.stdin.fileno()
    status, failures = await _look(connection, view)
    signals = anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with signals as received, single_keys(terminal), Live(console=console, screen=True, auto_refresh=False) as live:
        while not view.quit:
            live.update(frame(view, status, failures, console.height), refresh=True)
            before = (view.inside, view.selected)
            keys = await _keys(terminal, received, every_s)
            for key in keys:
                view.press(key)
            if not keys or (view.inside and before != (view.inside, view.selected)):
                status, failures = await _look(connection, view)


async def _keys(terminal: int, received: AsyncIterator[signal.Signals], within_s: float) -> list[str]:
    """The next ones, or none; a signal, or a terminal that has gone, is `q`."""
    keys: list[str] = []

    async def typed() -> None:
        keys.extend(await next_keys(terminal) or ["q"])
        either.cancel_scope.cancel()

    async def ended() -> None:
        await anext(received)
        keys.append("q")
        either.cancel_scope.cancel()

    with anyio.move_on_after(within_s):
        async with anyio.create_task_group() as either:
            either.start_soon(typed)
            either.start_soon(ended)
    return keys


async def _look(connection: Connection, view: View) -> tuple[read.Status, Rows]:
    status = await read.status(connection)
    if not view.inside:
        return status, []
    return status, await figures.failures(connection, _FAILURES_S, _FAILURES, view.selected)
