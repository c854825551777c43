"""What programs and services are told of an action, and what they may answer: one JSON object for each.

    told      {"id": 7, "related": "invoice 7", "attempt": 1, "idempotency_key": "actiond-7", "state": null,
               "data": {...}}
    answered  {"id": 7, "ok": true, "result": ...}
              {"id": 7, "error": "text", "behavior": "SUDDEN_DEATH", "after": "5 min"}     behavior and after if wanted
              {"id": 7, "defer": "1 min", "state": ...}
              {"id": 7, "cancel": "reason"}

An answer has exactly one of ok, error, defer, cancel. What else stands in it is ignored.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import BaseModel, StrictInt, StrictStr, ValidationError

from actiond import ALLOW_RETRY, Action, RetryBehavior
from actiond_processors.config import Hide

_SHOWN = 200


class Garbage(Exception):
    """Not an answer; the text says why."""


class Answer(BaseModel):
    """One of them, checked."""

    id: StrictInt
    ok: bool | None = None
    result: Any = None
    error: StrictStr | None = None
    behavior: RetryBehavior = ALLOW_RETRY
    after: StrictStr | int | float | None = None
    defer: StrictStr | int | float | None = None
    state: Any = None
    cancel: StrictStr | None = None


def told(action: Action[Any]) -> str:
    """JSON in one line. The payload is passed on as it is stored, so that no number loses a digit."""
    known = {
        "id": action.id,
        "related": action.related,
        "attempt": action.attempt,
        "idempotency_key": action.idempotency_key,
        "state": action.state,
    }
    return f'{json.dumps(known, ensure_ascii=False)[:-1]}, "data": {action.row.data}}}'


def parsed(text: str | bytes) -> Any:
    """A JSON value that can be stored. Garbage for what is none."""
    try:
        return storable(json.loads(text, parse_constant=_no_number))
    except (ValueError, RecursionError) as wrong:
        shown = text[:_SHOWN] if isinstance(text, str) else text[:_SHOWN].decode("utf-8", "replace")
        raise Garbage(f"no JSON ({wrong}): {shown!r}") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def storable(value: Any) -> Any:
    """The same without what Postgres cannot store: NUL and half surrogates become U+FFFD, 1e999 a text."""
    if isinstance(value, str):
        clean = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return clean if clean.isascii() else clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [storable(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def hidden(value: Any, hide: Hide) -> Any:
    """The same without secrets."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(name): hidden(each, hide) for name, each in value.items()}
    return [hidden(each, hide) for each in value] if isinstance(value, list) else value


def answer_of(value: Any) -> Answer:
    """Garbage says what is wrong with it."""
    try:
        answer = Answer.model_validate(value)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        raise Garbage(f"{where}: {first['msg']}: {json.dumps(value)[:_SHOWN]}") from None
    said = [each is not None for each in (answer.ok, answer.error, answer.defer, answer.cancel)]
    if sum(said) != 1 or answer.ok is False:
        raise Garbage(f"it needs one of ok (true), error, defer, cancel: {json.dumps(value)[:_SHOWN]}")
    return answer


def mark(action: Action[Any], answer: Answer, hide: Hide) -> None:
    """What the answer says of this action. Garbage for a duration that is none."""
    try:
        if answer.error is not None:
            action.fail(hide(answer.error), answer.behavior, after=_duration(answer.after))
        elif answer.defer is not None:
            action.defer(_duration(answer.defer) or "0 s", state=hidden(answer.state, hide))
        elif answer.cancel is not None:
            action.cancel(hide(answer.cancel))
        else:
            action.complete(hidden(answer.result, hide))
    except (ValueError, RecursionError) as wrong:
        raise Garbage(f"{wrong}") from None


def _duration(value: str | float | None) -> str | None:
    return f"{value:.6f} s" if isinstance(value, int | float) else value
