"""actiond stats."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import duration_option, hint, of, processor_option, span
from actiond.postgres import figures
from actiond.words.duration import in_words

_BAR = 30  # characters of the longest


@click.command("stats")
@processor_option
@duration_option("--since", "24 h", "Outcomes within this time, from the beginning of its first hour.")
@click.option("--hours", "what", flag_value="hours", help="Outcomes by hour.")
@click.option("--retries", "what", flag_value="retries", help="How often it takes more than one attempt.")
@dsn_option
@json_option
def command(processor: str | None, since: float, what: str | None, dsn: str | None, as_json: bool) -> None:
    """How much, how well, how fast: outcomes, success, waits and times of each processor.

    Waits (due until claimed) and times (called until ended) are right to within a factor of two.
    """
    asked = {"hours": figures.throughput, "retries": figures.retries}.get(what or "", figures.stats)
    rows = ask(dsn, lambda c: asked(c, since, processor))
    if as_json:
        output.print_json(rows)
        return
    draw = {"hours": _hours, "retries": _retries}.get(what or "", _stats)
    nothing = "nothing was retried" if what == "retries" else "no run ended"
    output.table(draw(rows), as_json=False, empty=f"{nothing}{of(processor)} in the last {span(since)}")
    if not rows and what != "retries":
        hint("what waits, and why: actiond status")
    elif rows and what is None:
        hint("by hour: --hours   retries: --retries   failures by kind: actiond errors")
    elif rows and what == "retries" and rows[0]["example"] is not None:
        hint(f"the one that was tried most often: actiond history {rows[0]['example']}")


def _stats(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "processor": row["processor"],
            "completed": f"{row['completed']:,}",
            "failed": f"{row['failed']:,}",
            "success": percent(row["success"]),
            "retried": f"{row['retried']:,}",
            "deferred": f"{row['deferred']:,}",
            "canceled": f"{row['canceled']:,}",
            "runs": f"{row['runs']:,}",
            "wait p50": _time(row["wait_p50_s"]),
            "p95": _time(row["wait_p95_s"]),
            "time p50": _time(row["time_p50_s"]),
            "p95 ": _time(row["time_p95_s"]),
        }
        for row in rows
    ]


def _hours(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    most = max((row["completed"] for row in rows), default=0) or 1
    return [
        {
            "hour": row["hour"].astimezone().strftime("%Y-%m-%d %H:%M"),
            "completed": f"{row['completed']:,}",
            "": "█" * round(_BAR * row["completed"] / most),
            "failed": f"{row['failed']:,}",
            "retried": f"{row['retried']:,}",
            "deferred": f"{row['deferred']:,}",
            "canceled": f"{row['canceled']:,}",
            "runs": f"{row['runs']:,}",
        }
        for row in rows
    ]


def _retries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "processor": row["processor"],
            "attempts": f"{row['attempts']:,}",
            "retried": f"{row['retried']:,}",
            "share": percent(row["share"]),
            "after the 1st": f"{row['after_first']:,}",
            "2nd": f"{row['after_second']:,}",
            "later": f"{row['after_later']:,}",
            "most attempts": row["most_attempts"],
            "example": row["example"],
        }
        for row in rows
    ]


def percent(share: float | None) -> str:
    """0.9987 -> "99.8 %": rounded down, so that 100 % means all."""
    return "" if share is None else f"{int(share * 1000) / 10:g} %"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else in_words(seconds)
