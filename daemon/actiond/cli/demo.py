"""actiond demo."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import anyio
import click
from rich.console import Console

from actiond.cli import output
from actiond.demo import files
from actiond.demo.screen import Screen
from actiond.demo.stage import Stage, stage
from actiond.demo.watch import Verdict, watch

_TOLD_MAX = 5  # surprises
_LOOK_S = 0.5


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the daemon and the server running until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one object and nothing else.")
def command(keep: bool, as_json: bool) -> int:
    """Watch real files become real outcomes.

    Starts a private Postgres and a daemon; another process inserts one row for each file of Python's standard
    library, and some that must fail. Everything is gone afterwards. Needs nothing but `pip install
    'actiond[demo]'`, or Postgres programs on this machine.
    """
    console = Console(stderr=as_json, quiet=as_json and not keep)
    screen = Screen(console, files.how_many())
    with ExitStack() as running:
        with console.status("starting Postgres, a daemon and a producer"):
            everything = running.enter_context(stage())
        with screen.live():
            verdict = anyio.run(watch, everything, screen.draw)
        if as_json:
            output.print_json(_summary(verdict))
        screen.report(verdict)
        if verdict.unexpected:
            raise everything.trouble("not as expected: " + "; ".join(verdict.unexpected[:_TOLD_MAX]))
        screen.invite(everything, keep)
        if keep:
            _until_ctrl_c(everything)
    return 0


def _until_ctrl_c(everything: Stage) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            everything.check()
            time.sleep(_LOOK_S)


def _summary(verdict: Verdict) -> dict[str, float]:
    progress = verdict.progress
    return {
        "inserted": progress.inserted,
        "completed": progress.completed,
        "failed": progress.failed,
        "retried": progress.retried,
        "seconds": round(progress.seconds, 2),
        "per_second": round(progress.per_second, 1),
    }
