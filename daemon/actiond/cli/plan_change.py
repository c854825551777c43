"""actiond plan add, set, enable, disable, rm."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.schedule_options import flag_option
from actiond.postgres import plan_edit
from actiond.postgres.connection import Connection
from actiond.words import json_text
from actiond.words.errors import OperatorError

F = TypeVar("F", bound=Callable[..., Any])
_MAYBE_NONE = ("description", "key", "then_plan", "notify_processor", "flag")


def _options(function: F) -> F:
    for option in (
        flag_option,
        click.option("--description"),
        click.option("--notify-processor", metavar="NAME", help="The report also as an action of this processor."),
        click.option(
            "--notify",
            type=click.Choice(["never", "errors", "rows", "always"]),
            help="A report by NOTIFY actiond_events: when some failed, when there were rows, always (never).",
        ),
        click.option("--then-on", type=click.Choice(["success", "errors", "always"]), help="After which end (always)."),
        click.option("--then", "then_plan", metavar="PLAN", help="Run that plan afterwards."),
        click.option(
            "--abort-percent", type=click.FloatRange(0, 100, max_open=True), help="Cancel the rest when more fail."
        ),
        click.option("--overlap", type=click.Choice(["skip", "allow"]), help="While a run of it is open (skip)."),
        click.option("--page", type=click.IntRange(1, 100_000), help="Rows in one transaction (5000)."),
        click.option(
            "--const", "constants", multiple=True, metavar="TARGET=JSON", help="A value that is always the same."
        ),
        click.option(
            "--map",
            "columns",
            multiple=True,
            metavar="TARGET=COLUMN",
            help="A column of the source, as a path in the payload (who.first) or as related, priority, due_at or "
            "retries_left. Without any --map and --const: each column by its own name.",
        ),
        click.option("--key", metavar="COLUMN", help="Read in pages, by this column of the source."),
        click.option("--source", metavar="QUERY", help="A query, the name of a table or view, or @FILE."),
    ):
        function = option(function)
    return function


@click.command("add")
@click.argument("name")
@click.argument("processor")
@_options
@click.option("--disabled", is_flag=True, help="Off, until it is enabled.")
@dsn_option
@json_option
def add(name: str, processor: str, disabled: bool, dsn: str | None, as_json: bool, **given: Any) -> None:
    """A new plan. Look at what it would do with `actiond plan preview NAME`, then run it."""
    if given["source"] is None:
        raise OperatorError("say where the rows come from: --source QUERY, or a table or view, or @FILE")
    if not name.strip():
        raise OperatorError("a plan needs a name")
    values = {**_said(given), "processor": processor, "enabled": not disabled}

    async def added(connection: Connection) -> dict[str, Any]:
        await plan_edit.add(connection, name, values)
        return await plan_edit.the_one(connection, name)

    _tell("added", ask(dsn, added), as_json)


@click.command("set")
@click.argument("name")
@click.option("--processor", metavar="NAME")
@_options
@click.option("--by-name", is_flag=True, help="No mapping any more: each column by its own name.")
@dsn_option
@json_option
def set_(name: str, processor: str | None, by_name: bool, dsn: str | None, as_json: bool, **given: Any) -> None:
    """Change a plan. --map and --const replace the whole mapping; an empty text takes a value away."""
    values = _said(given) | ({"processor": processor} if processor is not None else {})
    if by_name and "mapping" in values:
        raise OperatorError("either --by-name, or --map and --const")
    if by_name:
        values["mapping"] = None
    if not values:
        raise OperatorError("nothing to change: see `actiond plan set --help`")

    async def changed(connection: Connection) -> dict[str, Any]:
        await plan_edit.change(connection, await plan_edit.the_one(connection, name), values)
        return await plan_edit.the_one(connection, name)

    _tell("changed", ask(dsn, changed), as_json)


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the columns have it."""
    said = {name: value for name, value in given.items() if value is not None and name not in ("columns", "constants")}
    for name in _MAYBE_NONE:
        if said.get(name) == "":
            said[name] = None
    if said.get("source", "").startswith("@"):
        said["source"] = _read(Path(said["source"][1:]))
    if given["columns"] or given["constants"]:
        mapping: dict[str, Any] = dict(_pair("--map", each) for each in given["columns"])
        for each in given["constants"]:
            target, text = _pair("--const", each)
            try:
                mapping[target] = {"const": json_text.loads(text)}
                json_text.dumps(mapping[target])  # can it be stored?
            except ValueError as wrong:
                raise OperatorError(
                    f"--const {target}: {text!r} is no JSON that can be stored ({wrong}); a text stands in quotes"
                ) from None
        said["mapping"] = json_text.dumps(mapping)
    return said


def _pair(option: str, text: str) -> tuple[str, str]:
    target, equals, value = text.partition("=")
    if not (target and equals and value):
        raise OperatorError(f"{option} {text!r}: write TARGET={'COLUMN' if option == '--map' else 'JSON'}")
    return target, value


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise OperatorError(f"--source: {file} cannot be read: {wrong}") from None


def _tell(done: str, row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json({done: row["name"], "edition": row["edition"]})
    else:
        say.line(f"{done}: {row['name']}; `actiond plan preview {shlex.quote(row['name'])}` shows what a run would do")
    if not row["known"]:
        say.line(f"no processor {row['processor']!r} is known yet: is the name right?", err=True)


@click.command("enable")
@click.argument("name")
@dsn_option
@json_option
def enable(name: str, dsn: str | None, as_json: bool) -> None:
    """Switch a plan on."""
    _switch(name, dsn, as_json, on=True)


@click.command("disable")
@click.argument("name")
@dsn_option
@json_option
def disable(name: str, dsn: str | None, as_json: bool) -> None:
    """Switch a plan off: no run of it begins. One that has begun goes on."""
    _switch(name, dsn, as_json, on=False)


def _switch(name: str, dsn: str | None, as_json: bool, *, on: bool) -> None:
    ask(dsn, lambda c: plan_edit.switch(c, name, on=on))
    if as_json:
        output.print_json({"name": name, "enabled": on})
    else:
        say.line(f"{name}: {'on' if on else 'off'}")


@click.command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@dsn_option
@json_option
def remove(name: str, yes: bool, dry_run: bool, dsn: str | None, as_json: bool) -> None:
    """Remove a plan. Its runs and the actions they made stay; a run that has begun ends."""
    ask(dsn, lambda c: plan_edit.the_one(c, name))
    if not dry_run:
        if not yes:
            say.confirm(f"remove plan {name}?")
        ask(dsn, lambda c: plan_edit.remove(c, name))
    if as_json:
        output.print_json({"removed": [] if dry_run else [name], "would_remove": [name] if dry_run else []})
    else:
        say.line(f"would remove: plan {name} (--dry-run)" if dry_run else f"removed: plan {name}")


COMMANDS = (add, set_, enable, disable, remove)
