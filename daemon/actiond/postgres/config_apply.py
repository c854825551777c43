"""A configuration file is imported: all of it, or nothing, by what the single commands do.

What was shown is what happens: the rows are locked, looked at again, and if the difference is another one by now,
nothing is done.
"""

from __future__ import annotations

from typing import Any

from actiond.postgres import config_store, plan_edit, schedule_edit, verbs
from actiond.postgres.config_kinds import KINDS, PLANS, PROCESSORS, SCHEDULES
from actiond.postgres.config_store import Found
from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.rules.config_diff import Change, Difference, How
from actiond.rules.config_kind import Kind, State
from actiond.words.errors import OperatorError

_sql = Statements()
_SWITCH_OF_NAME = "name_enabled"
_KINDS = {kind.section: kind for kind in KINDS}


async def apply(connection: Connection, wanted: State, shown: Difference, *, remove: bool, reason: str | None) -> None:
    """Do what was shown. OperatorError: it has changed meanwhile, or cannot be done; then nothing was."""
    async with connection.transaction():
        await config_store.lock(connection, shown.changes)
        found = await config_store.found(connection)
        now = found.difference(wanted, remove=remove)
        if not now.same_as(shown):
            raise OperatorError(
                "somebody has changed it meanwhile, so nothing was imported: look at the difference again, then repeat"
            )
        for change, why in found.refusals(now):
            raise OperatorError(f"{_KINDS[change.section].called(change.key)}: {why}")
        for change in sorted(now.changes, key=_order):
            await _one(connection, found, change, reason)
        await _whole_names(connection, now)


def _order(change: Change) -> tuple[bool, int]:
    """What goes, goes first: a name that is switched off only by such a row is not, for one that comes."""
    return change.how is not How.REMOVE, [each.section for each in KINDS].index(change.section)


async def _one(connection: Connection, found: Found, change: Change, reason: str | None) -> None:
    if change.section == PROCESSORS.section:
        await _processor(connection, change, reason)
    elif change.section == SCHEDULES.section:
        await _schedule(connection, found, change)
    else:
        await _plan(connection, found, change)


async def _processor(connection: Connection, change: Change, reason: str | None) -> None:
    (name,) = change.key
    if "uses" in change.fields:
        await connection.fetchval(_sql["use_built_in"], name, change.after.get("uses"))
    for field in PROCESSORS.fields:
        if field.name in change.fields and field.name != "uses":
            await verbs.set_knob(connection, name, field.name, field.column(change.after), reason)


async def _schedule(connection: Connection, found: Found, change: Change) -> None:
    name, processor = change.key
    if change.how is How.REMOVE:
        await schedule_edit.remove(connection, name, processor)
        return
    values = _columns(SCHEDULES, change)
    values.pop(_SWITCH_OF_NAME, None)
    if change.how is How.ADD:
        await schedule_edit.add(connection, name, processor, values)
    elif values:
        if "starts_at" in values and values["starts_at"] is None:
            values["starts_at"] = await schedule_edit.now(connection)
        await schedule_edit.change(connection, found.rows[SCHEDULES.section][change.key], values)


async def _whole_names(connection: Connection, difference: Difference) -> None:
    """After the rows: it is an edit of each of them."""
    switched = {
        change.key[0]: bool(change.after.get(_SWITCH_OF_NAME, True))
        for change in difference.changes
        if change.section == SCHEDULES.section and change.how is not How.REMOVE and _SWITCH_OF_NAME in change.fields
    }
    for name, on in switched.items():
        await schedule_edit.switch(connection, name, None, on=on)


async def _plan(connection: Connection, found: Found, change: Change) -> None:
    (name,) = change.key
    if change.how is How.REMOVE:
        await plan_edit.remove(connection, name)
        return
    values = _columns(PLANS, change)
    if change.how is How.ADD:
        await plan_edit.add(connection, name, values)
    elif values.keys() == {"enabled"}:  # the one thing that who only operates may change
        await plan_edit.switch(connection, name, on=values["enabled"])
    else:
        await plan_edit.change(connection, found.rows[PLANS.section][change.key], values)


def _columns(kind: Kind, change: Change) -> dict[str, Any]:
    """Of the fields that differ; whatever else stands in the row stays as it is stored."""
    return {field.name: field.column(change.after) for field in kind.fields if field.name in change.fields}
