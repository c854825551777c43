"""A difference as people and programs read it: + what comes, ~ what changes, - what goes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from actiond.cli import output
from actiond.postgres.config_kinds import KINDS
from actiond.postgres.config_store import Found
from actiond.rules.config_diff import Change, Difference, How
from actiond.rules.config_kind import Key, Kind, State

_SIGN = {How.ADD: "+", How.CHANGE: "~", How.REMOVE: "-"}
_LONG = 80  # characters of a value that still stands on the line
_NAMED = 5  # things of a list in one line
_KINDS = {kind.section: kind for kind in KINDS}


def stays(difference: Difference) -> str:
    """What is here and not in the file, in one line; empty: nothing."""
    named = [
        _KINDS[each.section].called(each.key) + (f" ({', '.join(each.fields)})" if each.fields else "")
        for each in difference.stays
    ]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return output.cell(f"not in the file, and stays: {'; '.join(named[:_NAMED])}{more}") if named else ""


def lines(difference: Difference) -> Iterator[str]:
    """A line for each thing, and of what changes for each field; of long texts the lines that differ."""
    for change in difference.changes:
        kind = _KINDS[change.section]
        name = output.cell(kind.called(change.key))
        if change.how is How.CHANGE:
            for each in kind.fields:
                if each.name in change.fields:
                    yield from _field(kind, change, name, each.name)
        else:
            fields = change.after if change.how is How.ADD else change.before
            said = ", ".join(f"{field} {_short(value)}" for field, value in fields.items())
            yield f"{_SIGN[change.how]} {name}: {said}" if said else f"{_SIGN[change.how]} {name}"


def _field(kind: Kind, change: Change, name: str, field: str) -> Iterator[str]:
    before, after = change.before.get(field), change.after.get(field)
    texts = [each for each in (before, after) if isinstance(each, str)]
    if len(texts) == 2 and any("\n" in each or len(each) > _LONG for each in texts):
        yield f"~ {name}: {field}, from line to line:"
        one, other = (output.cell(each).splitlines() for each in texts)
        for line in islice(difflib.unified_diff(one, other, n=1, lineterm=""), 2, None):  # without names of files
            yield f"    {line}"
        return
    yield f"~ {name}: {field} {_side(kind, change.before, field)} -> {_side(kind, change.after, field)}"


def _side(kind: Kind, fields: dict[str, Any], field: str) -> str:
    if field in fields:
        return _whole(fields[field])
    if kind.overlay:
        return "(as declared)"
    known = kind.field(field)
    if known is None or known.default is None:
        return "(none)"
    return f"{_whole(known.shape.shown(known.default))} (default)"


def _whole(value: Any) -> str:
    """On one line; of a text, one can see where it ends."""
    if not isinstance(value, str):
        return output.cell(output.json_text(value))
    text = output.cell(" ".join(value.split()))
    return repr(text) if " " in text or not text else text


def _short(value: Any) -> str:
    text = _whole(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def as_json(difference: Difference) -> list[dict[str, Any]]:
    """A member for each thing; a field that is not set is not in `before` or `after`."""
    return [
        {
            "change": str(each.how),
            "kind": _KINDS[each.section].word,
            **_named(each.section, each.key),
            "before": each.before,
            "after": each.after,
        }
        for each in difference.changes
    ]


def stays_as_json(difference: Difference) -> list[dict[str, Any]]:
    """What is here, is not in the file, and stays."""
    return [
        {"kind": _KINDS[each.section].word, **_named(each.section, each.key), "fields": list(each.fields)}
        for each in difference.stays
    ]


def _named(section: str, key: Key) -> dict[str, str]:
    return dict(zip(_KINDS[section].named_by, key, strict=True))


def warnings(found: Found, wanted: State) -> list[str]:
    """As the single commands warn."""
    unknown = {
        name
        for section, things in wanted.items()
        for key, fields in things.items()
        if (name := found.unknown(section, key, fields)) is not None and (name,) not in wanted.get("processors", {})
    }
    return [f"no processor {name!r} is known yet: is the name right?" for name in sorted(unknown)]
