"""What the config of every built-in has in common: fields that are checked, durations, and secrets by reference.

A secret never stands in a table. Where one is wanted, config says {"secret": "name"}, and the value is found when the
processor is made: in the variable ACTIOND_SECRET_NAME of the daemon, else in the file `name` of the credentials
folder of systemd ($CREDENTIALS_DIRECTORY). {"secret": "name", "prefix": "Bearer "} puts text before it. SIGHUP
reads it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError

from actiond import ProcessorInvalid, seconds, secret

HIDDEN = "[hidden]"
LONGEST_TIMEOUT_S = 86400.0

M = TypeVar("M", bound="Config")


class Config(BaseModel):
    """One object of a config: a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that is never printed."""

    name: str
    value: str
    prefix: str = ""

    def reveal(self) -> str:
        """As it is sent."""
        return self.prefix + self.value

    def __repr__(self) -> str:
        return f"<secret {self.name}>"


def read(model: type[M], processor: str, config: Mapping[str, Any]) -> M:
    """The config of this processor, checked. ProcessorInvalid names the processor and each field that is wrong."""
    try:
        return model.model_validate(dict(config))
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False, include_context=False)
        said = [f"{'.'.join(map(str, e['loc'])) or 'config'}: {_plain(e['msg'])}" for e in errors[:3]]
        more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
        raise ProcessorInvalid(f"{processor!r}: config {'; '.join(said)}{more}") from None


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "there is no such field")


def _found(given: Any) -> Secret:
    if isinstance(given, Secret):
        return given
    prefix = given.get("prefix", "") if isinstance(given, dict) else ""
    if not isinstance(given, dict) or not {"secret"} <= given.keys() <= {"secret", "prefix"}:
        raise ValueError('write {"secret": "name"}: a secret does not stand in a table')
    if not isinstance(prefix, str):
        raise ValueError("a prefix is text")  # noqa: TRY004 - of a config, not of a caller
    return Secret(given["secret"], secret(given["secret"]), prefix)


def _text_or_secret(given: Any) -> str | Secret:
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        return _found(given)
    raise ValueError('text, or {"secret": "name"}')


def _timeout(amount_s: float) -> float:
    if not 0.001 <= amount_s <= LONGEST_TIMEOUT_S:
        raise ValueError("from 1 ms to 1 d")
    return amount_s


#: "30 s", in seconds.
Timeout = Annotated[float, BeforeValidator(seconds), AfterValidator(_timeout)]
#: {"secret": "name"}
SecretRef = Annotated[Secret, PlainValidator(_found)]
#: "text", or {"secret": "name"}
TextOrSecret = Annotated[str | Secret, PlainValidator(_text_or_secret)]


def revealed(value: str | Secret) -> str:
    """As it is sent."""
    return value.reveal() if isinstance(value, Secret) else value


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _secrets(each)


class Hide:
    """Takes the secrets of one config out of whatever others send back: texts, and JSON with texts in it."""

    def __init__(self, config: Config) -> None:
        values = sorted(set(_secrets(config)), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, values))) if values else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)
