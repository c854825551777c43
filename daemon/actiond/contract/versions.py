"""Payloads that change while rows wait: a model says through which functions older ones come to fit it.

@versioned(split_name, add_country)   # 1 -> 2, 2 -> 3: so this is version 3
class Customer(BaseModel): ...

A row says in its payload with which version it was written, `{"$version": 2, ...}`; one that says nothing was written
before there were versions, which is 1. A row of a version that is not known yet is kept for a program that knows it.
Numbers pass through Python on the way, so of a decimal with more than 15 digits the last may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import from_json

from actiond.words import json_text
from actiond.words.errors import PayloadInvalid, PayloadNewer, ProcessorInvalid

FIELD = "$version"
#: The fields of a payload -> those of the next version.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_SAID = "__actiond_upcasters__"
M = TypeVar("M", bound=type)


def versioned(*upcasters: Upcaster) -> Callable[[M], M]:
    """For a model of payloads: the first function brings version 1 to 2, and so on; without any this is version 1."""

    def say(model: M) -> M:
        if not isinstance(model, type):
            raise ProcessorInvalid(f"versioned is for a class, and stands before {model!r}")
        for each in upcasters:
            if not callable(each):
                raise ProcessorInvalid(f"{model.__name__}: versioned wants functions, not {each!r}")
        setattr(model, _SAID, upcasters)
        return model

    return say


@dataclass(frozen=True, slots=True)
class Versions:
    """Of one model."""

    upcasters: tuple[Upcaster, ...]

    @classmethod
    def of(cls, model: Any) -> Versions | None:
        """What the model says; None if nothing."""
        upcasters = getattr(model, _SAID, None)
        return None if upcasters is None else cls(upcasters)

    @property
    def current(self) -> int:
        """That of the model itself."""
        return len(self.upcasters) + 1

    def upcast(self, data: str) -> str:
        """A payload as the model has it. PayloadNewer, PayloadInvalid, ValueError for what is no JSON; or whatever the
        functions raise."""
        payload = from_json(data)
        if not isinstance(payload, dict):
            return data  # the model says what is wrong with it
        at = self._version(payload.pop(FIELD, 1))
        for upcaster in self.upcasters[at - 1 :]:
            payload = _next(upcaster, payload, at)
            at += 1
        return json_text.dumps(payload)

    def written(self, data: Any) -> Any:
        """What a producer asks with, with the version; one that names its own keeps it."""
        return {FIELD: self.current, **data} if isinstance(data, Mapping) else data

    def shown(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema of what is written now: a payload that says nothing would be taken for version 1."""
        fields = {FIELD: {"const": self.current, "title": "Version"}, **schema.get("properties", {})}
        needed = [*schema.get("required", []), *([FIELD] if self.current > 1 else [])]
        return {**schema, "properties": fields, **({"required": needed} if needed else {})}

    def _version(self, said: Any) -> int:
        if not isinstance(said, int) or isinstance(said, bool) or said < 1:
            raise PayloadInvalid(f"{FIELD}: should be a whole number, 1 or more")
        if said > self.current:
            raise PayloadNewer(f"it has version {said}, and the last one known here is {self.current}")
        return said


def _next(upcaster: Upcaster, payload: dict[str, Any], at: int) -> dict[str, Any]:
    made: Any = upcaster(payload)
    if not isinstance(made, dict):
        kind = type(made).__name__
        raise PayloadInvalid(f"version {at} was brought to {kind}, and version {at + 1} wants an object")
    return made
