"""What may stand in a configuration file: the one list of fields for processors, schedules and plans.

A new column that people set is a line here, beside the one in the list of the values of a new row. A knob of a
processor needs none: it is a knob.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from actiond.contract import policy
from actiond.postgres import plan_edit, schedule_edit
from actiond.rules import cron
from actiond.rules.config_kind import Field, Fields, Key, Kind
from actiond.rules.shapes import (
    DURATION,
    JSON,
    MOMENT,
    NAMES,
    OBJECT,
    SWITCH,
    TEXT,
    Shape,
    choice,
    name_of_processor,
    number,
    whole,
)
from actiond.rules.slots import Missed
from actiond.words import duration
from actiond.words.errors import ProcessorInvalid

_OVERLAP = choice("skip", "allow")

_SCHEDULE: Mapping[str, Shape] = {
    "cron": TEXT,
    "every": DURATION,
    "timezone": TEXT,
    "starts_at": MOMENT,
    "data": JSON,
    "related": TEXT,
    "priority": whole(0, 3),
    "missed": choice(*(str(each) for each in Missed)),
    "grace": DURATION,
    "overlap": _OVERLAP,
    "environments": NAMES,
    "flag": TEXT,
    "enabled": SWITCH,
    "name_enabled": SWITCH,
}

_PLAN: Mapping[str, Shape] = {
    "description": TEXT,
    "source": TEXT,
    "key": TEXT,
    "processor": TEXT,
    "mapping": OBJECT,
    "page": whole(1, 100_000),
    "enabled": SWITCH,
    "overlap": _OVERLAP,
    "abort_percent": number(0, 100),
    "then_plan": TEXT,
    "then_on": choice("success", "errors", "always"),
    "notify": choice("never", "errors", "rows", "always"),
    "notify_processor": TEXT,
    "flag": TEXT,
}


def _knob(name: str) -> Field:
    return Field(
        name, Shape(partial(_knob_read, name), partial(_knob_shown, name), partial(policy.in_postgres, name)), None
    )


def _knob_read(name: str, value: Any) -> Any:
    try:
        checked = policy.override(name, value)
    except ProcessorInvalid as wrong:
        raise ValueError(str(wrong.args[0]).removeprefix(f"{name}: ")) from None
    if checked is None:
        raise ValueError("a value; to have it as declared, leave the line out")
    return duration.written(checked) if name in policy.DURATIONS else checked


def _knob_shown(name: str, value: Any) -> Any:
    try:
        return _knob_read(name, value)
    except ValueError:  # written by hand, and beyond what we would write: as it is
        return value


def _fields(shapes: Mapping[str, Shape], new: Mapping[str, Any]) -> tuple[Field, ...]:
    return tuple(Field(name, shape, new.get(name)) for name, shape in shapes.items())


def _check_processor(key: Key, fields: Fields) -> None:
    name_of_processor(key[0])


def _check_schedule(key: Key, fields: Fields) -> None:
    name_of_processor(key[1])
    if ("cron" in fields) == ("every" in fields):
        raise ValueError("a schedule has either cron or every")
    if "related" in fields and "data" not in fields:
        raise ValueError("a wake is about no record: give data to insert an action, or leave related out")
    every = DURATION.stored(fields["every"]) if "every" in fields else None
    cron.rule(fields.get("cron"), every, fields.get("timezone", "UTC"), cron.EPOCH)


def _check_plan(key: Key, fields: Fields) -> None:
    if not key[0].strip():
        raise ValueError("a plan needs a name")
    for name in ("source", "processor"):
        if not fields.get(name):
            raise ValueError(f"a plan needs a {name}")
    name_of_processor(fields["processor"])


PROCESSORS = Kind(
    "processors",
    "processor",
    ("name",),
    (Field("uses", TEXT), *map(_knob, policy.KNOBS)),
    _check_processor,
    overlay=True,
)
SCHEDULES = Kind(
    "schedules",
    "schedule",
    ("name", "processor"),
    _fields(_SCHEDULE, {**schedule_edit.NEW, "name_enabled": True}),
    _check_schedule,
)
PLANS = Kind("plans", "plan", ("name",), _fields(_PLAN, plan_edit.NEW), _check_plan)
KINDS = (PROCESSORS, SCHEDULES, PLANS)
