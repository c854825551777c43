"""What operators have set here, as a configuration file has it: overrides of processors, schedules, plans.

Nothing that runs leave behind, nothing that the code declares. Fields that a processor says are not to be shown stand
in a file as [hidden], and come back as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from actiond.postgres import schedule_edit
from actiond.postgres.config_kinds import KINDS, PLANS, PROCESSORS, SCHEDULES
from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.rules.config_diff import Change, Difference, How, compare
from actiond.rules.config_kind import Fields, Key, State
from actiond.rules.shapes import ABSENT, hidden, hidden_constants, revealed
from actiond.words import json_text

_sql = Statements()
_LOCK = {PROCESSORS.section: "lock_processors", SCHEDULES.section: "lock_schedules", PLANS.section: "lock_plans"}
#: What of a kind may hold values that are not shown.
_SECRETIVE = {SCHEDULES.section: ("data", hidden), PLANS.section: ("mapping", hidden_constants)}


@dataclass(frozen=True, slots=True)
class Found:
    """One look at all of it."""

    state: State  # every processor that is known, also without overrides; nothing is hidden here
    rows: Mapping[str, Mapping[Key, Mapping[str, Any]]]  # schedules and plans as they are stored
    redact: Mapping[str, frozenset[str]]  # processor -> fields that are not to be shown

    def shown(self) -> State:
        """As people may see it."""
        return {
            section: {key: self._masked(section, key, fields, fields) for key, fields in things.items()}
            for section, things in self.state.items()
        }

    def difference(self, wanted: State, *, remove: bool) -> Difference:
        """What a file would change; what it hides is what is stored here. Not for people's eyes: see `masked`."""
        filled = {
            section: {key: self._filled(section, key, fields) for key, fields in things.items()}
            for section, things in wanted.items()
        }
        return compare(KINDS, filled, self.state, remove=remove)

    def masked(self, difference: Difference) -> Difference:
        """The same as people may see it."""
        changes = tuple(
            replace(
                each,
                before=self._masked(each.section, each.key, each.before, each.after),
                after=self._masked(each.section, each.key, each.after, each.after),
            )
            for each in difference.changes
        )
        return replace(difference, changes=changes)

    def refusals(self, difference: Difference) -> list[tuple[Change, str]]:
        """What cannot be done here, and why."""
        refused = []
        for change in difference.changes:
            if change.section == PROCESSORS.section and change.how is How.ADD and "uses" not in change.after:
                why = "no such processor is known here: a daemon that has it declares it at its start"
                refused.append((change, why))
            try:
                self._revealed(change.section, change.key, change.after)
            except ValueError as wrong:
                refused.append((change, str(wrong)))
        return refused

    def unknown(self, section: str, key: Key, fields: Fields) -> str | None:
        """The processor of this schedule or plan, if nobody has heard of it."""
        name = key[1] if section == SCHEDULES.section else fields.get("processor")
        known = name is None or section == PROCESSORS.section or (name,) in self.state[PROCESSORS.section]
        return None if known else str(name)

    def _filled(self, section: str, key: Key, fields: Fields) -> Fields:
        try:
            return self._revealed(section, key, fields)
        except ValueError:  # `refusals` says it
            return fields

    def _revealed(self, section: str, key: Key, fields: Fields) -> Fields:
        name = _SECRETIVE.get(section, ("",))[0]
        if name not in fields:
            return fields
        return {**fields, name: revealed(fields[name], self.state[section].get(key, {}).get(name, ABSENT))}

    def _masked(self, section: str, key: Key, fields: Fields, others: Fields) -> Fields:
        name, hide = _SECRETIVE.get(section, ("", hidden))
        if name not in fields:
            return fields
        here = self.state[section].get(key, {})
        processors = [*key[1:], *(each["processor"] for each in (fields, others, here) if "processor" in each)]
        secret = frozenset[str]().union(*(self.redact.get(each, frozenset()) for each in processors))
        return {**fields, name: hide(fields[name], secret)}


async def found(connection: Connection) -> Found:
    """As it is now."""
    processors: dict[Key, Fields] = {}
    redact: dict[str, frozenset[str]] = {}
    for known in await connection.fetch(_sql["config_processors"]):
        overrides = json_text.loads(known["overrides"])
        columns = {each.name: overrides.get(each.name) for each in PROCESSORS.fields} | {"uses": known["uses"]}
        processors[(known["name"],)] = PROCESSORS.of_row(columns)
        redact[known["name"]] = frozenset(known["redact"])
    rows: dict[str, dict[Key, Mapping[str, Any]]] = {
        SCHEDULES.section: {(row["name"], row["processor"]): row for row in await schedule_edit.schedules(connection)},
        PLANS.section: {(row["name"],): dict(row) for row in await connection.fetch(_sql["config_plans"])},
    }
    others = {
        kind.section: {key: kind.of_row(row) for key, row in rows[kind.section].items()} for kind in (SCHEDULES, PLANS)
    }
    return Found({PROCESSORS.section: processors, **others}, rows, redact)


def set_by_people(state: State) -> State:
    """Without the processors of which nothing is overridden."""
    return {kind.section: {k: f for k, f in state[kind.section].items() if f or not kind.overlay} for kind in KINDS}


async def lock(connection: Connection, changes: tuple[Change, ...]) -> None:
    """Nobody else touches what these are about, until the transaction ends."""
    for section, statement in _LOCK.items():
        names = sorted({change.key[0] for change in changes if change.section == section})
        if names:
            await connection.fetch(_sql[statement], names)
