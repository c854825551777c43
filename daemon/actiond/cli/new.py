"""actiond new."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from actiond.cli import new_code, say
from actiond.contract.processor import NAME_RULE, is_name
from actiond.words.errors import OperatorError

_SAMPLE = '{"text": "hello"}'


@click.group("new")
def command() -> None:
    """Begin something new: files that run as they are."""


@command.command("processor")
@click.argument("name")
@click.option("--batch", is_flag=True, help="Many actions a call, an outcome for each (default: one action a call).")
@click.option(
    "--file", "given", type=click.Path(path_type=Path), metavar="PATH", help="Where to (default: NAME.py, here)."
)
@click.option("--test/--no-test", "with_test", default=True, help="Also a test beside it (default), or none.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def processor(name: str, batch: bool, given: Path | None, with_test: bool, force: bool) -> None:
    """A file with a processor and one with its test; then the commands to test it, run it and ask it for work."""
    if not is_name(name):
        raise click.BadParameter(NAME_RULE, param_hint="NAME")
    file = given or Path(f"{new_code.module_name(new_code.function_name(name))}.py")
    _check(file)
    test = file.with_name(f"test_{file.name}")
    texts = {file: new_code.processor_text(name, batch=batch)}
    if with_test:
        texts[test] = new_code.text_of_test(name, file)
    _write(texts, force)
    for path in texts:
        say.line(f"written {path}")
    say.line("# next:")
    if with_test:
        say.line(f"pytest {shlex.quote(str(test))}")
    say.line(f"actiond dev --processors {shlex.quote(str(file))}")
    say.line("# then, in another terminal:")
    say.line('export ACTIOND_DSN="$(actiond dev --show-dsn)"')
    say.line(f"actiond enqueue --data {shlex.quote(_SAMPLE)} {_argument(name)}")


def _check(file: Path) -> None:
    """Can this be imported, and is it nobody else's name?"""
    if file.suffix != ".py" or not new_code.is_module_name(file.stem):
        raise click.BadParameter(
            f"{file.name} cannot be imported: write letters, digits and _, and .py at the end", param_hint="--file"
        )
    if new_code.hides_another(file.stem):
        raise click.BadParameter(
            f"{file.name} would hide the installed module {file.stem}: choose another name", param_hint="--file"
        )


def _write(texts: dict[Path, str], force: bool) -> None:
    there = [str(path) for path in texts if path.exists()]
    if there and not force:
        raise OperatorError(f"{' and '.join(there)}: there already. Choose another --file, or replace with --force.")
    for path, text in texts.items():
        try:
            with path.open("w" if force else "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as wrong:
            raise OperatorError(f"{path} cannot be written: {wrong.strerror or wrong}") from None


def _argument(name: str) -> str:
    """As it stands in a shell, also one that looks like an option."""
    return f"{'-- ' if name.startswith('-') else ''}{shlex.quote(name)}"
