"""actiond torture."""

from __future__ import annotations

import sys
import time

import anyio
import click

from actiond.cli import output, say
from actiond.torture.torture import Plan, Report, torture

_USUAL = Plan()


@click.command("torture")
@click.option("--rows", default=_USUAL.rows, show_default=True, type=click.IntRange(1, 10_000_000))
@click.option("--kills", default=_USUAL.kills, show_default=True, type=click.IntRange(0, 10_000), help="Of daemons.")
@click.option(
    "--freezes", default=_USUAL.freezes, show_default=True, type=click.IntRange(0, 1_000), help="Past the lease."
)
@click.option(
    "--pg-kills", default=_USUAL.pg_kills, show_default=True, type=click.IntRange(0, 1_000), help="Of Postgres."
)
@click.option("--minutes", type=click.FloatRange(min=0.1), help="At most; by default it grows with rows and faults.")
@click.option("--seed", default=_USUAL.seed, show_default=True, type=int, help="The same seed: the same faults.")
@click.option("--json", "as_json", is_flag=True)
def command(as_json: bool, **plan: float) -> int:
    """Check the promise on this machine: kill and freeze daemons, kill Postgres, cut connections, act by hand,
    and then compare what the producer and the effects remember with what the database says.

    It starts its own Postgres and never touches another.
    """
    chosen = Plan(**plan)  # type: ignore[arg-type]
    if not as_json:
        say.line(f"seed {chosen.seed}")
    report = anyio.run(torture, chosen, say.over if sys.stderr.isatty() else _Minutes().tell)
    if sys.stderr.isatty():
        say.over("")
    if as_json:
        output.print_json(report.as_dict())
    else:
        _print(report)
    return 0 if report.verdict.kept else 1


class _Minutes:
    """Progress where no line can be written over: one a minute."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def tell(self, line: str) -> None:
        if time.monotonic() - self._told_s >= 60:
            self._told_s = time.monotonic()
            say.line(line, err=True)


def _print(report: Report) -> None:
    tally, found = report.tally, report.verdict
    rows = [
        ("rows acknowledged / present", f"{found.acknowledged:,} / {found.present:,}"),
        ("completed, failed, canceled", f"{found.completed:,}, {found.failed:,}, {found.canceled:,}"),
        ("daemons killed (in flight)", f"{tally.kills} ({tally.kills_in_flight})"),
        ("daemons frozen (in flight)", f"{tally.freezes} ({tally.freezes_in_flight})"),
        ("Postgres killed, connections cut", f"{tally.pg_kills}, {tally.cuts}"),
        ("rows changed by hand, by bulk verbs", f"{tally.by_hand:,}, {found.by_bulk:,}"),
        ("families, slots of a schedule", f"{found.families:,}, {found.slots:,}"),
        ("rows in flight at a fault", f"{tally.rows_in_flight:,}"),
        ("rows reclaimed", f"{found.reclaimed:,}"),
        ("effects, repeated", f"{found.effects:,}, {found.repeated:,}"),
        ("late outcomes fenced", f"{found.fenced:,}"),
        ("quarantined", f"{found.quarantined:,}"),
        ("seconds", f"{report.seconds:.1f}"),
    ]
    output.table([{"": name, " ": value} for name, value in rows], as_json=False)
    for complaint in found.complaints:
        say.line(f"! {complaint}", fg="red")
    if found.kept:
        say.line("the promise was kept: nothing lost, nothing final twice", fg="green")
