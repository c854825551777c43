"""actiond deploy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from actiond.cli import output, say
from actiond.host import systemd_files
from actiond.host.systemd_files import File
from actiond.postgres.statements import deploy_folder
from actiond.words.errors import OperatorError


@click.group("deploy")
def command() -> None:
    """Files that make a host run the daemon."""


@command.command("systemd")
@click.option("--instance", required=True, metavar="NAME", help="One instance for each database: actiond@NAME.")
@click.option("--program", metavar="PATH", help="The program to start (default: this one).")
@click.option(
    "--to", "root", type=click.Path(path_type=Path), metavar="DIR", help="Write below this folder; / installs."
)
@click.option("--dry-run", is_flag=True, help="With --to: say what would be written, write nothing.")
@click.option("--yes", is_flag=True, help="Replace files that differ without asking.")
@click.option("--json", "as_json", is_flag=True)
def systemd(instance: str, program: str | None, root: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """The unit, its user and its settings: print them, or write them with --to; then the commands that remain.

    Settings that are there already are kept. The DSN is never written: it may hold a password.
    """
    started = program or _this_program()
    files = systemd_files.files(deploy_folder(), instance, started)
    steps = systemd_files.next_steps(instance, started)
    states = {} if root is None else {file.path: _state(file, root) for file in files}
    if root is not None and not dry_run:
        _write(files, states, root, yes)
    if as_json:
        output.print_json({"files": [_as_json(file, states) for file in files], "next": steps})
    elif root is None:
        for file in files:
            say.block(f"# {file.path} (mode {file.mode:04o})\n{file.text}")
    else:
        would = "would be " if dry_run else ""
        for file in files:
            say.line(f"{_SAID[states[file.path]].format(would)} {file.below(root)} (mode {file.mode:04o})")
    if not as_json:
        say.block("# next, as root:\n" + "\n".join(steps))
    if systemd_files.closed_to_it(started):
        say.line(
            f"! the unit closes the folder of {started} to the service: install it elsewhere", fg="yellow", err=True
        )


_SAID = {"new": "{}written", "same": "unchanged", "replaced": "{}replaced", "kept": "kept as it is"}


def _this_program() -> str:
    mine = Path(sys.argv[0]).absolute()
    return str(mine) if mine.name == "actiond" and mine.is_file() else systemd_files.PROGRAM


def _state(file: File, root: Path) -> str:
    try:
        return file.state(root)
    except (OSError, ValueError) as wrong:
        raise OperatorError(f"{file.below(root)} cannot be read: {wrong}") from None


def _write(files: list[File], states: dict[str, str], root: Path, yes: bool) -> None:
    replaced = [str(file.below(root)) for file in files if states[file.path] == "replaced"]
    if replaced and not yes:
        say.confirm(f"Replace {', '.join(replaced)}?")
    for file in files:
        if states[file.path] in ("new", "replaced"):
            try:
                file.write(root)
            except OSError as wrong:
                raise OperatorError(f"{file.below(root)} cannot be written: {wrong.strerror or wrong}") from None


def _as_json(file: File, states: dict[str, str]) -> dict[str, Any]:
    return {"path": file.path, "mode": f"{file.mode:04o}", "state": states.get(file.path), "text": file.text}
