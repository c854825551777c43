"""A verb on all that a filter finds: count, ask, go through it with progress, say how to undo it.

The bulk verb is an action of its own (`actiond show ID`) that is held while this command works through it, a chunk a
transaction. So whatever ends the command, Ctrl-C or the machine, leaves it held at exactly the place it had reached:
the same command again, or --continue ID, goes on; `actiond release ID` lets a daemon go on; `actiond cancel ID`
drops it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import click

from actiond.cli import filters, output, say
from actiond.cli.asking import ask
from actiond.cli.ls import shown
from actiond.postgres import verbs
from actiond.postgres.connection import Connection
from actiond.words.errors import OperatorError
from actiond.words.status import Verb

_STOPPED = 130
#: What undoes a bulk verb, for what it has changed and nothing else.
_UNDO = {
    Verb.CANCEL: "actiond release --changed-by {}   (what was held or had failed comes back pending)",
    Verb.HOLD: "actiond release --changed-by {}",
    Verb.RELEASE: "actiond hold --changed-by {}   (what has run meanwhile stays as it is)",
    Verb.RETRY: "nothing makes them failed again; `actiond hold --changed-by {}` stops those that have not run yet",
    Verb.RUN_NOW: "nothing puts them back into their place; `actiond hold --changed-by {}` stops what has not run yet",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One verb as it was called."""

    verb: Verb
    filter: dict[str, Any]
    everything: bool
    reason: str | None
    dry_run: bool
    yes: bool
    detach: bool
    continued: int | None
    as_json: bool
    add_retries: int = 0

    @property
    def line(self) -> str:
        """How people would call it: the same words find an interrupted one again."""
        more = [f"--add-retries {self.add_retries}"] if self.add_retries else []
        said = ["--all"] if self.everything else [filters.as_options(self.filter)]
        return " ".join(["actiond", command_name(self.verb), *said, *more])


def command_name(verb: Verb) -> str:
    """run_now -> run-now."""
    return verb.value.replace("_", "-")


def run(dsn: str | None, asked: Asked) -> int:
    """The command; its exit code."""
    if asked.continued is not None:
        return _work(dsn, asked, _to_continue(dsn, asked, asked.continued).id)
    earlier = None if asked.dry_run or asked.detach else ask(dsn, lambda c: verbs.unfinished(c, asked.line))
    if earlier is not None:
        found = _to_continue(dsn, asked, earlier)
        said = f"this was interrupted at action {found.reached:,} ({found.changed:,} changed); going on as {found.id}"
        say.line(said, err=True)
        return _work(dsn, asked, earlier)
    exact, counted = ask(dsn, lambda c: _count(c, asked))
    if asked.dry_run or not counted.count:
        show_dry_run(asked, counted, exact)
        return 0
    _confirm(asked, exact, counted)
    id_ = ask(
        dsn,
        lambda c: verbs.start(
            c, asked.verb, exact, asked.reason, add_retries=asked.add_retries, held=not asked.detach, asked=asked.line
        ),
    )
    if asked.detach:
        return _detached(asked, id_)
    return _work(dsn, asked, id_)


async def _count(connection: Connection, asked: Asked) -> tuple[dict[str, Any], verbs.Counted]:
    exact = await verbs.narrowed(connection, asked.verb, asked.filter)
    return exact, await verbs.count(connection, exact)


def _to_continue(dsn: str | None, asked: Asked, id_: int) -> verbs.Bulk:
    found = ask(dsn, lambda c: verbs.look(c, id_))
    if found is None:
        raise OperatorError(f"action {id_} is no bulk verb")
    if found.verb != asked.verb:
        raise OperatorError(f"{id_} is a {found.verb}: `actiond {command_name(Verb(found.verb))} --continue {id_}`")
    if found.status != "held":
        raise OperatorError(
            f"{id_} is {found.status}, not held"
            + (": a daemon has it or will have it" if found.status in ("pending", "running") else "")
        )
    return found


def show_dry_run(asked: Asked, counted: verbs.Counted, exact: dict[str, Any] | None = None) -> None:
    """How many, and some of them."""
    if asked.as_json:
        sample = {"count": counted.count, "more": counted.more, "sample": counted.sample, "filter": exact}
        output.print_json({"verb": asked.verb, "dry_run": True, **sample})
        return
    if not counted.count:
        said = "nothing matches" + (" among those looked at" if counted.more else "")
        say.line(f"{said}: {filters.in_words(exact)}" if exact else said)
        return
    say.line(f"{counted} to {command_name(asked.verb)}" + (f": {filters.in_words(exact)}" if exact else ""))
    output.table([shown(row) for row in counted.sample], as_json=False)
    if asked.dry_run:
        say.line("nothing was changed (--dry-run)")


def _confirm(asked: Asked, exact: dict[str, Any], counted: verbs.Counted) -> None:
    """Abort, unless a person wants it. Everything at once wants more than a y."""
    if asked.yes and not asked.everything:
        return
    if not asked.as_json:
        show_dry_run(asked, counted, exact)
    if not asked.everything:
        say.confirm(f"{command_name(asked.verb)} {counted}?")
        return
    typed = click.prompt(f"type their number to {command_name(asked.verb)} all of them", default="", err=True,
                         show_default=False)  # fmt: skip
    if typed.replace(",", "").strip() != str(counted.count):
        raise OperatorError(f"{typed!r} is not {counted.count}: nothing was changed")


def _detached(asked: Asked, id_: int) -> int:
    if asked.as_json:
        output.print_json({"verb": asked.verb, "id": id_, "over": False})
    else:
        say.line(f"asked for as action {id_}: `actiond show {id_}` tells how far it is, `actiond hold {id_}` stops it")
    return 0


def _work(dsn: str | None, asked: Asked, id_: int) -> int:
    try:
        done = ask(dsn, lambda c: _through(c, id_))
    except KeyboardInterrupt:
        name = command_name(asked.verb)
        say.block(
            f"\nstopped; what was done so far stays. `actiond {name} --continue {id_}` goes on, "
            f"`actiond release {id_}` lets a daemon go on, `actiond cancel {id_}` drops the rest.",
            err=True,
        )
        return _STOPPED
    undo = _UNDO[asked.verb].format(id_)
    if asked.as_json:
        output.print_json({"verb": asked.verb, "id": id_, "changed": done.changed, "over": done.over, "undo": [undo]})
    elif done.over:
        say.line(f"{done.changed:,} changed by {command_name(asked.verb)} {id_}")
        say.line(f"undo: {undo}")
    if not done.over:
        say.line(f"{id_} was taken over: it is {done.status} now, {done.changed:,} changed so far", err=True)
    return 0 if done.over else 1


async def _through(connection: Connection, id_: int) -> verbs.Bulk:
    """Chunk by chunk to the end, then give the record to the daemons: only they complete an action."""
    now = await verbs.look(connection, id_)
    assert now is not None
    bar: Any = click.progressbar(
        length=max(now.upto, 1), label=f"{now.verb} {id_}", file=sys.stderr, item_show_func=_changed
    )
    with bar:
        bar.update(now.reached, now)
        while not now.over and await verbs.step(connection, id_):
            then = await verbs.look(connection, id_)
            if then is None:
                raise OperatorError(f"action {id_} was deleted meanwhile")
            bar.update(min(then.reached, now.upto) - now.reached, then)
            now = then
    if now.over and now.status == "held":
        await verbs.act(connection, Verb.RELEASE, [id_], None)
    return await verbs.look(connection, id_) or now


def _changed(bulk: verbs.Bulk | None) -> str:
    return f"{bulk.changed:,} changed" if bulk else ""
