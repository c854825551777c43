"""actiond config: what operators have set, as a file that goes from one database to another."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from actiond.cli import config_read, config_shown, config_write, output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.set import OUTLIVED, outlived
from actiond.postgres import config_apply, config_store
from actiond.postgres.config_kinds import KINDS
from actiond.postgres.config_store import Found
from actiond.postgres.connection import Connection
from actiond.rules.config_diff import Difference
from actiond.rules.redaction import redact
from actiond.words.duration import counted
from actiond.words.errors import ConfigFileInvalid, OperatorError

F = TypeVar("F", bound=Callable[..., Any])
_SECTIONS = [kind.section for kind in KINDS]
_STDIN = "-"

file_argument = click.argument("file", metavar="FILE")
remove_option = click.option(
    "--remove", is_flag=True, help="What is here and not in the file goes, in the sections that the file has."
)


@click.group("config")
def command() -> None:
    """Overrides of processors, schedules and plans as a file: from test to production, and kept in git."""


@command.command("export")
@click.option("--only", type=click.Choice(_SECTIONS), multiple=True, help="Only this; may be given several times.")
@click.option("-o", "--output", "to", metavar="FILE", help="Write this file (default: standard output).")
@dsn_option
@json_option
def export(only: tuple[str, ...], to: str | None, dsn: str | None, as_json: bool) -> None:
    """What people have set here, as YAML: always in the same order, without anything that running leaves behind."""
    sections = [section for section in _SECTIONS if not only or section in only]
    state = config_store.set_by_people(ask(dsn, config_store.found).shown())
    if as_json:
        trees = {kind.section: config_write.tree(kind, state) for kind in KINDS if kind.section in sections}
        text = output.json_text({"version": config_read.VERSION, **trees}) + "\n"
    else:
        text = config_write.write(state, sections)
    if to is None:
        say.block(text, nl=False)
    else:
        _save(Path(to), text)
        counts = ", ".join(counted(len(state[kind.section]), kind.word) for kind in KINDS if kind.section in sections)
        say.line(f"{to}: {counts}", err=True)
    for number, line in enumerate(text.splitlines(), 1):
        if redact(line) != line:
            say.line(f"line {number} looks as if a secret stood in it: look before you pass it on", err=True)


def _save(path: Path, text: str) -> None:
    """All of it, or what was there before."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False, newline="\n") as file:
            file.write(text)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(file.name).chmod(mode)
        os.replace(file.name, path)  # noqa: PTH105 - atomic, and of the same folder
    except OSError as wrong:
        raise OperatorError(f"{path} cannot be written: {wrong.strerror or wrong}") from None


@command.command("diff")
@file_argument
@remove_option
@dsn_option
@json_option
def diff(file: str, remove: bool, dsn: str | None, as_json: bool) -> None:
    """What an import of FILE would change: a line for each thing. Changes nothing.

    Exit code 0: nothing; 1: something; more: it could not be told.
    """
    try:
        document = _read(file)
        seen = ask(dsn, lambda c: _look(c, document, remove=remove))
    except OperatorError as wrong:
        wrong.exit_code = max(2, wrong.exit_code)  # 1 would say that there is a difference
        raise
    _show(document, seen, as_json=as_json)
    if seen.difference.changes:
        sys.exit(1)


@command.command("import")
@file_argument
@remove_option
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", help="Why: kept in the history of processors (default: the name of the file).")
@dsn_option
@json_option
def import_(
    file: str, remove: bool, dry_run: bool, yes: bool, reason: str | None, dsn: str | None, as_json: bool
) -> None:
    """Show what FILE would change, ask, and do all of it in one transaction, or nothing.

    It does what the single commands do, with your rights and in your name. A file without a section leaves that alone,
    also with --remove.
    """
    if (file == _STDIN or as_json) and not (yes or dry_run):
        why = "standard input is the file" if file == _STDIN else "JSON is for programs"
        raise click.UsageError(f"{why}, so nobody can be asked: say --yes, or --dry-run")
    document = _read(file)
    seen = ask(dsn, lambda c: _look(c, document, remove=remove))
    difference = seen.difference
    if not as_json:
        _show(document, seen, as_json=False)
    if seen.found.refusals(difference):
        raise OperatorError("nothing was imported, as a part of it is refused")
    doing = bool(difference.changes) and not dry_run
    if doing:
        if not yes:
            say.confirm(f"{_counted(difference)}: import?")
        why = reason or f"config import {'standard input' if file == _STDIN else Path(file).name}"
        ask(dsn, lambda c: config_apply.apply(c, document.state, difference, remove=remove, reason=why))
    if as_json:
        _show(document, seen, as_json=True, imported=doing)
    elif difference.changes:
        say.line(f"imported: {_counted(difference)}" if doing else "nothing was changed (--dry-run)")


def _read(file: str) -> config_read.Document:
    name = "standard input" if file == _STDIN else file
    try:
        text = (sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()).decode()
    except OSError as wrong:
        raise ConfigFileInvalid(f"{file} cannot be read: {wrong.strerror or wrong}") from None
    except UnicodeDecodeError as wrong:
        raise ConfigFileInvalid(f"{file}: no UTF-8, at byte {wrong.start}") from None
    return config_read.read(text, name)


def _refused(document: config_read.Document, refusal: tuple[Any, str]) -> str:
    change, why = refusal
    kind = next(each for each in KINDS if each.section == change.section)
    return str(document.wrong(change.section, change.key, f"{kind.called(change.key)}: {why}"))


def _counted(difference: Difference) -> str:
    return counted(len(difference.changes), "change")


@dataclass(frozen=True, slots=True)
class _Seen:
    found: Found
    difference: Difference
    warnings: list[str]


async def _look(connection: Connection, document: config_read.Document, *, remove: bool) -> _Seen:
    found = await config_store.found(connection)
    difference = found.difference(document.state, remove=remove)
    warnings = config_shown.warnings(found, document.state)
    for change in difference.changes:
        for knob in sorted(OUTLIVED.keys() & change.after.keys()):
            count = await outlived(connection, change.key[0], knob, change.after[knob])
            if count.count:
                warnings.append(f"{knob}: {count} actions of {change.key[0]} are older and will be deleted")
    return _Seen(found, difference, warnings)


def _show(document: config_read.Document, seen: _Seen, *, as_json: bool, imported: bool | None = None) -> None:
    """The difference, and beside standard output what somebody should know of it."""
    refusals = [_refused(document, each) for each in seen.found.refusals(seen.difference)]
    difference, warnings = seen.found.masked(seen.difference), seen.warnings
    if as_json:
        done = {} if imported is None else {"imported": imported}
        told = {"changes": config_shown.as_json(difference), "stays": config_shown.stays_as_json(difference)}
        output.print_json({**done, **told, "refused": refusals, "warnings": warnings})
        return
    for line in config_shown.lines(difference):
        say.line(line)
    if not difference.changes:
        say.line("no difference: an import changes nothing")
    for line in filter(None, [config_shown.stays(difference), *refusals, *warnings]):
        say.line(line, err=True)
