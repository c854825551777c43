"""What would change if a configuration file were imported here.

A schedule or a plan in the file is all of it: a field that it does not say is as by default. An override of a
processor is a thing of its own. What is not in the file stays, unless it is to be removed, and then only in sections
that the file has. Two values are the same if they are the same JSON: `true` is not 1, though Python thinks so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from actiond.rules.config_kind import Fields, Key, Kind, State
from actiond.rules.shapes import ABSENT
from actiond.words import json_text


class How(StrEnum):
    """What happens to a thing."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing. Of a change, only the fields that differ; a field that is not set is not there."""

    how: How
    section: str
    key: Key
    before: Fields
    after: Fields

    @property
    def fields(self) -> set[str]:
        """Those that differ."""
        return {*self.before, *self.after}


@dataclass(frozen=True, slots=True)
class Stays:
    """What is here, is not in the file, and stays: a thing, or of a thing these fields."""

    section: str
    key: Key
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """All of it, in the order of the file: sections, then names."""

    changes: tuple[Change, ...]
    stays: tuple[Stays, ...]

    def same_as(self, other: Difference) -> bool:
        """Would the same be done?"""
        return _said(self) == _said(other)


def compare(kinds: Iterable[Kind], wanted: State, found: State, *, remove: bool = False) -> Difference:
    """`wanted`: sections of a file; `found`: what is here, all sections."""
    changes: list[Change] = []
    stays: list[Stays] = []
    for kind in kinds:
        if kind.section not in wanted:
            continue
        here = found.get(kind.section, {})
        there = _with_whole_names(wanted[kind.section], {} if remove else here)
        for key in sorted({*here, *there}):
            if key in there:
                change = _one(kind, key, here.get(key), there[key], remove=remove)
                changes += [change] if change is not None else []
            elif remove and (here[key] or not kind.overlay):
                changes.append(Change(How.REMOVE, kind.section, key, dict(here[key]), {}))
            if not remove and key in here:
                stays += _more(kind, key, here[key], wanted[kind.section].get(key))
    return Difference(tuple(changes), tuple(stays))


def _one(kind: Kind, key: Key, here: Fields | None, there: Fields, *, remove: bool) -> Change | None:
    if here is None:
        added = Change(How.ADD, kind.section, key, {}, dict(there))
        return None if kind.overlay and not there else added
    if kind.overlay and not remove:
        there = {**here, **there}
    differing = [
        each.name for each in kind.fields if not _same(here.get(each.name, ABSENT), there.get(each.name, ABSENT))
    ]
    if not differing:
        return None
    before = {name: here[name] for name in differing if name in here}
    after = {name: there[name] for name in differing if name in there}
    return Change(How.CHANGE if there or not kind.overlay else How.REMOVE, kind.section, key, before, after)


def _more(kind: Kind, key: Key, here: Fields, there: Fields | None) -> Iterator[Stays]:
    """What of it the file does not have."""
    if not kind.overlay:
        if there is None:
            yield Stays(kind.section, key)
    elif more := tuple(name for name in here if name not in (there or {})):
        yield Stays(kind.section, key, more)


def _with_whole_names(there: Mapping[Key, Fields], here: Mapping[Key, Fields]) -> dict[Key, Fields]:
    """The switch of a whole name is one for all of its rows, also for those that the file does not have."""
    switched = {key[0]: fields.get("name_enabled", ABSENT) for key, fields in there.items() if len(key) > 1}
    wanted = dict(there)
    for key, fields in here.items():
        if key in wanted or len(key) < 2 or key[0] not in switched:
            continue
        if not _same(fields.get("name_enabled", ABSENT), switched[key[0]]):
            off = {} if switched[key[0]] is ABSENT else {"name_enabled": switched[key[0]]}
            wanted[key] = {**{name: value for name, value in fields.items() if name != "name_enabled"}, **off}
    return wanted


def _same(one: object, other: object) -> bool:
    if one is ABSENT or other is ABSENT:
        return one is other
    return _canonical(one) == _canonical(other)


def _canonical(value: object) -> str:
    """Text that is the same for the same JSON, in whatever order its names are."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text.dumps(name)}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return json_text.dumps(value)


def _said(difference: Difference) -> list[tuple[str, ...]]:
    return [
        (each.how, each.section, *each.key, "", _canonical(each.before), _canonical(each.after))
        for each in difference.changes
    ]
