"""actiond plan: the group, and what reads or runs: ls, preview, run, runs."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import anyio
import click

from actiond.cli import output, plan_change, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import plan_edit
from actiond.postgres.connection import Connection
from actiond.words import json_text
from actiond.words.duration import in_words

LOOK_S = 0.5
COUNT_S = 30.0  # a source may be a large table
_OPEN = ("pending", "running", "held")


@click.group("plan")
def command() -> None:
    """Mass actions: a query, how its rows become actions, of which processor."""


@command.command("ls")
@click.argument("name", required=False)
@dsn_option
@json_option
def list_(name: str | None, dsn: str | None, as_json: bool) -> None:
    """The plans: what they do, and what became of their last run."""
    rows = ask(dsn, lambda c: _some(c, name))
    if as_json:
        output.print_json([{**row, "mapping": json_text.loads_or_none(row["mapping"])} for row in rows])
        return
    output.table([_shown(row) for row in rows], as_json=False, empty="no plan yet: `actiond plan add` makes one")


async def _some(connection: Connection, name: str | None) -> list[dict[str, Any]]:
    return await plan_edit.plans(connection) if name is None else [await plan_edit.the_one(connection, name)]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    notes = [
        (row["running"] is not None, f"run {row['running']} is open"),
        (not row["enabled"], "off"),
        (not row["flag_on"], f"its flag {row['flag']!r} is off"),
        (not row["known"], "no such processor is known"),
        (row["key"] is None, "no key: all in one transaction"),
    ]
    return {
        "plan": row["name"],
        "source": " ".join(row["source"].split())[:60],
        "key": row["key"],
        "processor": row["processor"],
        "then": row["then_plan"] and f"{row['then_plan']} ({row['then_on']})",
        "last_run": row["last_run"],
        "ended": row["last_run_at"],
        "clean": row["last_run_clean"],
        "note": "; ".join(note for holds, note in notes if holds),
    }


@command.command("preview")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 1000), default=5, show_default=True, help="Actions to show.")
@dsn_option
@json_option
def preview(name: str, limit: int, dsn: str | None, as_json: bool) -> None:
    """What a run would do: how many rows, and the first actions as they would be made. Nothing is written."""
    seen = ask(dsn, lambda c: plan_edit.preview(c, name, limit), COUNT_S)
    if as_json:
        sample = [{**each, "data": json_text.loads_or_none(each["data"])} for each in seen.sample]
        output.print_json({"columns": seen.columns, "rows": seen.rows, "no_key": seen.no_key, "sample": sample})
    else:
        count = f"more rows than could be counted in {COUNT_S:g} s" if seen.rows is None else _rows(seen.rows)
        say.line(f"{count}; columns: {', '.join(seen.columns)}")
        output.table(seen.sample, as_json=False, empty="no action would be made")
    if seen.no_key:
        say.line(f"the key is NULL in {_rows(seen.no_key)}: a run would refuse to begin", err=True)
        sys.exit(1)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


@command.command("run")
@click.argument("name")
@click.option("--wait", is_flag=True, help="Show how far it is until it has ended; Ctrl-C leaves it running.")
@dsn_option
@json_option
def run(name: str, wait: bool, dsn: str | None, as_json: bool) -> None:
    """Run it now. What comes of it: `actiond plan runs NAME`; to end it: `actiond cancel RUN`."""
    if not wait:
        id_ = ask(dsn, lambda c: plan_edit.run(c, name))
        if as_json:
            output.print_json({"run": id_})
        else:
            say.line(f"run {id_} of {name}: `actiond plan runs {shlex.quote(name)}` shows how far it is")
        return
    last = ask(dsn, lambda c: _waited(c, name, quiet=as_json or not sys.stderr.isatty()))
    if as_json:
        output.print_json(last)
    else:
        output.table([_logged(last)], as_json=False)
    if last["status"] != "completed" or last["failed"] or last["canceled"]:
        sys.exit(1)


async def _waited(connection: Connection, name: str, *, quiet: bool) -> dict[str, Any]:
    id_ = await plan_edit.run(connection, name)
    while True:
        (now,) = await plan_edit.runs(connection, run_id=id_)
        if not quiet:
            say.over(_progress(now))
        if now["status"] not in _OPEN or (now["status"] == "held" and now["open"] is None):
            if not quiet:
                say.over("")
            return now
        await anyio.sleep(LOOK_S)


def _progress(row: dict[str, Any]) -> str:
    made, completed, failed = (row[each] or 0 for each in ("made", "completed", "failed"))
    said = f"run {row['run']}: {made:,} made, {completed:,} completed, {failed:,} failed"
    if row["eta"] is not None and row["open"]:
        said += f", {row['open']:,} open, {row['rate']:,.0f}/s, about {in_words(row['eta'].total_seconds())} left"
    return said


@command.command("runs")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@dsn_option
@json_option
def runs(name: str | None, limit: int, dsn: str | None, as_json: bool) -> None:
    """The log: runs of this plan, or of all, newest first."""
    rows = ask(dsn, lambda c: _logs(c, name, limit))
    if as_json:
        output.print_json(rows)
        return
    output.table([_logged(row) for row in rows], as_json=False, empty="no run yet: `actiond plan run NAME`")


async def _logs(connection: Connection, name: str | None, limit: int) -> list[dict[str, Any]]:
    rows = await plan_edit.runs(connection, name, None, limit)
    if name is not None and not rows:
        await plan_edit.the_one(connection, name)
    return rows


def _logged(row: dict[str, Any]) -> dict[str, Any]:
    percent = row["success_percent"]
    return {
        "run": row["run"],
        "plan": row["plan"],
        "status": row["status"],
        "began": row["started_at"],
        "ended": row["finished_at"],
        "made": row["made"],
        "completed": row["completed"],
        "failed": row["failed"],
        "canceled": row["canceled"],
        "open": row["open"],
        "success": None if percent is None else f"{percent:.1f} %",
        "left": row["eta"] if row["open"] else None,
        "error": row["error"],
    }


for each in plan_change.COMMANDS:
    command.add_command(each)
