"""Statement texts with one guard taken out. A guard that is not found here is an error: the text has moved on."""

from __future__ import annotations

from actiond.postgres.statements import Statements

_FENCE = "where a.id = o.id and a.run_id = o.run_id and a.claimed_by = $1 and a.status = o.was"

#: name -> (statement, guard, what stands there instead)
BROKEN: dict[str, tuple[str, str, str]] = {
    "no_fence": ("step", _FENCE, "where a.id = o.id and a.claimed_by >= 0 * $1"),
    "fence_by_status_only": ("step", _FENCE, "where a.id = o.id and a.status = o.was and a.claimed_by >= 0 * $1"),
}


def broken(name: str) -> Statements:
    """All statements, one of them broken."""
    statement, guard, instead = BROKEN[name]
    sound = Statements()
    text = sound[statement]
    assert text.count(guard) == 1, f"{statement} has no {guard!r} any more"
    return sound.but(**{statement: text.replace(guard, instead)})
