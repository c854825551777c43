"""actiond enqueue."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import payloads
from actiond.postgres.connection import Connection, Trouble, in_words, trouble
from actiond.postgres.enqueue import insert_texts
from actiond.words import duration, json_text
from actiond.words.errors import OperatorError, PayloadInvalid

CHUNK = 1_000
_SHOWN = 20  # bad lines that are printed; all are counted

#: (line number, data as JSON, related)
Line = tuple[int, str, str | None]
#: Raises PayloadInvalid for a payload that does not.
Fits = Callable[[Any], None]


@click.command("enqueue")
@click.argument("processor")
@click.option("--data", default="{}", metavar="JSON|-|@FILE", help="One payload; - or @FILE: one JSON document a line.")
@click.option("--related", help="The key of the record this is about.")
@click.option("--related-field", metavar="NAME", help="With lines: take `related` from this field of each payload.")
@click.option("--delay", default="0 s", metavar="DURATION", help="Not before: '10 min', '2 h'.")
@click.option("--priority", default=2, type=click.IntRange(0, 3), show_default=True, help="0 is first.")
@click.option(
    "--skip-bad", is_flag=True, help="Insert the good lines although others are bad (default: all or nothing)."
)
@click.option(
    "--validate",
    is_flag=True,
    help="Check payloads against the JSON schema that a daemon has declared for PROCESSOR (extra [validate]).",
)
@click.option("--dry-run", is_flag=True, help="Check every line; insert nothing.")
@dsn_option
@json_option
def command(processor: str, data: str, dsn: str | None, as_json: bool, **options: Any) -> int:
    """Ask for work: one action, or one for each line of a file or of standard input."""
    try:
        options["delay_s"] = duration.seconds(options.pop("delay"))
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--delay") from None
    bad: list[str] = []
    fits = ask(dsn, lambda c: payloads.checker(c, processor)) if options["validate"] else None
    source = _opened(data)
    lines = [(1, data, options["related"])] if source is None else _numbered(source, options["related"])
    good = list(_checked(lines, options["related_field"], fits, bad))
    options["lines"] = len(good) + len(bad)
    inserted: list[int] = []
    if not options["dry_run"] and (not bad or options["skip_bad"]):
        inserted = ask(dsn, lambda c: _insert(c, processor, good, bad, options))
    _tell(processor, good, bad, inserted, options, as_json)
    return 1 if bad else 0


def _opened(data: str) -> IO[str] | None:
    # What is not UTF-8 becomes half a surrogate pair, and so the error of its own line.
    if data == "-":
        return TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape")
    if data.startswith("@"):
        try:
            return Path(data[1:]).open(encoding="utf-8", errors="surrogateescape")
        except OSError as missing:
            raise OperatorError(f"{data[1:]}: {missing.strerror}") from None
    return None


def _numbered(source: IO[str], related: str | None) -> Iterator[Line]:
    for number, line in enumerate(source, 1):
        if line.strip():
            yield number, line, related


def _checked(lines: Any, related_field: str | None, fits: Fits | None, bad: list[str]) -> Iterator[Line]:
    for number, text, related in lines:
        try:
            value = json_text.loads(text)
        except ValueError as wrong:
            bad.append(f"line {number}: no JSON: {wrong}")
            continue
        try:
            json_text.dumps(value)
        except ValueError as wrong:
            bad.append(f"line {number}: {wrong}")
            continue
        if related_field is not None:
            if not isinstance(value, dict) or related_field not in value:
                bad.append(f"line {number}: no field {related_field!r}")
                continue
            related = str(value[related_field])
        try:
            if fits is not None:
                fits(value)
        except PayloadInvalid as wrong:
            bad.append(f"line {number}: {wrong.args[0]}")
            continue
        yield number, text.strip(), related


async def _insert(
    connection: Connection, processor: str, lines: list[Line], bad: list[str], options: dict[str, Any]
) -> list[int]:
    """In one transaction, unless bad lines are to be skipped: then chunk by chunk, halving around the bad."""
    transaction = None if options["skip_bad"] else connection.transaction()
    if transaction is not None:
        await transaction.start()
    ids: list[int] = []
    if sealed := await payloads.sealer(connection, processor):
        lines = [(line, json_text.dumps(sealed(json_text.loads(text))), related) for line, text, related in lines]
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]
    shown = click.progressbar(chunks, label="inserting", file=sys.stderr) if len(chunks) > 1 else nullcontext(chunks)
    with shown as each:
        for chunk in each:
            ids += await _insert_chunk(connection, processor, chunk, bad, options)
    if transaction is not None and bad:
        await transaction.rollback()
        return []
    if transaction is not None:
        await transaction.commit()
    return ids


async def _insert_chunk(
    connection: Connection, processor: str, lines: list[Line], bad: list[str], options: dict[str, Any]
) -> list[int]:
    """The ids; a line that the database refuses is found by halving and reported by number."""
    rows = [(data, related) for _, data, related in lines]
    try:
        async with connection.transaction():
            return await insert_texts(connection, processor, rows, options["priority"], options["delay_s"])
    except Exception as refused:
        if trouble(refused) is not Trouble.REFUSED:
            raise
        if len(lines) == 1:
            bad.append(f"line {lines[0][0]}: {in_words(refused)}")
            return []
    middle = len(lines) // 2
    first = await _insert_chunk(connection, processor, lines[:middle], bad, options)
    return first + await _insert_chunk(connection, processor, lines[middle:], bad, options)


def _tell(
    processor: str, good: list[Line], bad: list[str], ids: list[int], options: dict[str, Any], as_json: bool
) -> None:
    if as_json:
        output.print_json({"processor": processor, "inserted": len(ids), "bad": bad, "ids": ids})
        return
    for line in bad[:_SHOWN]:
        say.line(line, err=True)
    if len(bad) > _SHOWN:
        say.line(f"... and {len(bad) - _SHOWN} more bad lines", err=True)
    if options["dry_run"]:
        say.line(f"{len(good)} good, {len(bad)} bad; nothing was inserted (--dry-run)")
    elif bad and not ids:
        say.line(f"nothing was inserted: {len(bad)} bad of {options['lines']} (--skip-bad inserts the good ones)")
    else:
        span = f": {ids[0]}" if len(ids) == 1 else f": {ids[0]} to {ids[-1]}" if ids else ""
        say.line(f"{len(ids)} inserted for {processor}{span}")
