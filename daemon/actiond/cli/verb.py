"""cancel, hold, release, retry, run-now: one command each, on ids or on all that a filter finds.

On ids, in one transaction. On a filter: count, ask, then a bulk verb (cli/bulk). Every command ends by printing
the one that undoes it, or that nothing can.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import click

from actiond.cli import bulk, filters, output, say
from actiond.cli.asking import action_id, ask, dsn_option, json_option
from actiond.postgres import read, verbs
from actiond.words.status import VERBS, Status, Verb

IDS_AT_MOST = 10_000  # in one transaction; more than that is a filter's business
_SHOWN = 20

#: What brings a row back to the status it was in; what is not here cannot be undone.
UNDO = {
    (Verb.HOLD, Status.PENDING): Verb.RELEASE,
    (Verb.HOLD, Status.RUNNING): Verb.RELEASE,
    (Verb.CANCEL, Status.PENDING): Verb.RELEASE,
    (Verb.CANCEL, Status.RUNNING): Verb.RELEASE,
    (Verb.CANCEL, Status.HELD): Verb.RELEASE,
    (Verb.CANCEL, Status.FAILED): Verb.RELEASE,
    (Verb.RELEASE, Status.HELD): Verb.HOLD,
    (Verb.RELEASE, Status.CANCELED): Verb.CANCEL,
    (Verb.RETRY, Status.HELD): Verb.HOLD,
    (Verb.RETRY, Status.CANCELED): Verb.CANCEL,
    (Verb.RUN_NOW, Status.HELD): Verb.HOLD,
    (Verb.RUN_NOW, Status.CANCELED): Verb.CANCEL,
}
NOT_QUITE = {
    (Verb.CANCEL, Status.HELD): "they come back pending, not held",
    (Verb.CANCEL, Status.FAILED): "they come back pending, not failed",
}
NO_UNDO = {
    Verb.RETRY: "nothing makes an action failed again; `actiond hold {}` or `actiond cancel {}` stops it",
    Verb.RUN_NOW: "nothing puts an action back into its place in the queue; `actiond hold {}` stops it",
}


def verb_command(verb: Verb, help_: str) -> click.Command:
    """The command of one verb."""

    def run(ids: tuple[str, ...], dsn: str | None, as_json: bool, **options: Any) -> int:
        filter_ = filters.taken_from(options)
        asked = bulk.Asked(verb, filter_, as_json=as_json, **options)
        _one_way(ids, asked)
        if ids:
            return _on_ids(dsn, asked, [action_id(click.get_current_context(), _ID, each) for each in ids])
        return bulk.run(dsn, asked)

    command: Any = run
    for decorate in reversed(_decorators(verb)):
        command = decorate(command)
    takes = ", ".join(status for status in Status if status in VERBS[verb][1])
    made: click.Command = click.command(bulk.command_name(verb), help=f"{help_}\n\nTakes actions that are {takes}.")(
        command
    )
    return made


_ID = click.Argument(["ids"])


def _decorators(verb: Verb) -> list[Any]:
    retries = click.option("--add-retries", type=click.IntRange(0, 1_000_000), default=0, show_default=True,
                           help="Grant so many more; 0: what is left, and at least one more try.")  # fmt: skip
    return [
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        filters.filter_options,
        click.option("--all", "everything", is_flag=True, help="All of them; asks for their number to be typed."),
        *([retries] if verb is Verb.RETRY else []),
        click.option("--reason", help="Why: kept in history."),
        click.option("--dry-run", is_flag=True, help="Say how many, show some, change nothing."),
        click.option("--yes", is_flag=True, help="With a filter: do not ask."),
        click.option("--detach", is_flag=True, help="With a filter: let a daemon do it, and return at once."),
        click.option("--continue", "continued", type=int, metavar="ID", help="Go on with an interrupted one."),
        dsn_option,
        json_option,
    ]


def _one_way(ids: tuple[str, ...], asked: bulk.Asked) -> None:
    """Ids, or a filter, or everything, or an earlier one; not two of them and not none."""
    ways = [bool(ids), bool(asked.filter), asked.everything, asked.continued is not None]
    if sum(ways) == 0:
        raise click.UsageError("which actions? Give ids, or a filter (--processor, --status, ...), or --all.")
    if sum(ways) > 1:
        raise click.UsageError("ids, a filter, --all and --continue exclude each other")
    if len(ids) > IDS_AT_MOST:
        raise click.UsageError(f"more than {IDS_AT_MOST:,} ids: use a filter")


def _on_ids(dsn: str | None, asked: bulk.Asked, ids: list[int]) -> int:
    if asked.dry_run:
        return _dry_run(dsn, asked, ids)
    rows = ask(dsn, lambda c: verbs.act(c, asked.verb, ids, asked.reason, asked.add_retries))
    undo = undo_of(asked.verb, rows)
    refused = [row for row in rows if not row["changed"]]
    if asked.as_json:
        output.print_json({"verb": asked.verb, "changed": len(rows) - len(refused), "actions": rows, "undo": undo})
        return 1 if refused else 0
    for row in [row for row in rows if row["changed"]][:_SHOWN]:
        say.line(f"A-{row['id']:08} of {output.cell(row['processor'])}: {_became(asked.verb, row)}")
    if len(rows) - len(refused) > _SHOWN:
        say.line(f"... {len(rows) - len(refused):,} in all")
    _tell_refused(asked.verb, refused)
    for line in undo:
        say.line(f"undo: {line}")
    return 1 if refused else 0


def _dry_run(dsn: str | None, asked: bulk.Asked, ids: list[int]) -> int:
    seen = {row["id"]: row for row in ask(dsn, lambda c: read.listed(c, ids))}
    takes = VERBS[asked.verb][1]
    rows = [{"id": id_, "was": seen[id_]["status"] if id_ in seen else None} for id_ in dict.fromkeys(ids)]
    good = [seen[row["id"]] for row in rows if row["was"] in takes]
    refused = [row for row in rows if row["was"] not in takes]
    bulk.show_dry_run(asked, verbs.Counted(len(good), False, good[:_SHOWN]))
    if not asked.as_json:
        _tell_refused(asked.verb, refused)
    return 1 if refused else 0


def _became(verb: Verb, row: dict[str, Any]) -> str:
    if verb is Verb.RUN_NOW and row["was"] == Status.PENDING:
        return "pending -> next"
    return f"{row['was']} -> {row['status']}"


def _tell_refused(verb: Verb, refused: list[dict[str, Any]]) -> None:
    takes = " or ".join(status for status in Status if status in VERBS[verb][1])
    for row in refused[:_SHOWN]:
        if row["was"] is None:
            say.line(f"there is no action {row['id']}", err=True)
        else:
            name = bulk.command_name(verb)
            say.line(f"A-{row['id']:08} is {row['was']}, and {name} takes what is {takes}", err=True)
    if len(refused) > _SHOWN:
        say.line(f"... {len(refused):,} not changed in all", err=True)


def undo_of(verb: Verb, rows: list[dict[str, Any]]) -> list[str]:
    """The commands that bring these rows back to what they were, or why there is none."""
    ways: defaultdict[tuple[Verb | None, str], list[int]] = defaultdict(list)
    for row in rows:
        if row["changed"]:
            key = (verb, Status(row["was"]))
            ways[UNDO.get(key), NOT_QUITE.get(key, "")].append(row["id"])
    said = []
    for (undo, remark), ids in ways.items():
        listed = " ".join(map(str, ids[:_SHOWN])) + (" ..." if len(ids) > _SHOWN else "")
        if undo is None:
            said.append(NO_UNDO[verb].format(listed, listed))
        else:
            said.append(f"actiond {bulk.command_name(undo)} {listed}" + (f"   ({remark})" if remark else ""))
    return said
