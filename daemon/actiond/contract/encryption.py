"""Fields of payloads that nobody reads in the database: encrypted by who asks, opened just before the handler.

class Charge(BaseModel):
    amount: int
    card: Encrypted[str]

In the row the field holds {"$encrypted": "..."}: a token of Fernet (AES-128-CBC with an HMAC, of the package
cryptography, extra [encrypt]). What is in the token says for which processor and field it was made, so that nobody can
use one elsewhere. The keys are the secret `payload_key`, one a line: the first encrypts, each may open, so a new key is
put before the old one, and the old one goes when no row needs it. They are looked up each time, and never kept.

Who cannot encrypt may write a field as it is; then it is hidden as `redact` hides, and anybody with the right to select
the column reads it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel

from actiond.contract.secret import secret
from actiond.rules import redaction
from actiond.words import json_text
from actiond.words.errors import OperatorError, PayloadInvalid, PayloadLocked, ProcessorInvalid

KEYS = "payload_key"
TOKEN = "$encrypted"  # noqa: S105 - the name of the field that holds one
IN_SCHEMA = "x-encrypted"  # a list of fields
_LISTED = re.compile(r"[\s,]+")

T = TypeVar("T")


class _Mark:
    """Stands in the annotation of an encrypted field."""


_MARK = _Mark()
#: The type of a field at the top of a payload's model: `card: Encrypted[str]`.
Encrypted = Annotated[T, _MARK]


@dataclass(frozen=True, slots=True)
class Encryption:
    """Of the payloads of one processor."""

    processor: str
    fields: tuple[str, ...]  # as they stand in payloads

    @classmethod
    def of(cls, processor: str, model: Any) -> Encryption | None:
        """What the model says; None if nothing. ProcessorInvalid for a mark that would not be kept."""
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        fields: dict[str, None] = {}
        for name, field in model.model_fields.items() if is_model else ():
            if any(isinstance(each, _Mark) for each in field.metadata) or _marked(field.annotation):
                fields |= dict.fromkeys([name, *([field.alias] if field.alias else [])])
            elif _marked(field.annotation, set()):
                raise ProcessorInvalid(f"{name}: Encrypted is for fields at the top of a payload, not for those inside")
        if not is_model and _marked(model, set()):
            raise ProcessorInvalid("Encrypted is for fields of a pydantic model that is itself the payload")
        if fields and importlib.util.find_spec("cryptography") is None:
            raise ProcessorInvalid("Encrypted needs the package cryptography: pip install 'actiond[encrypt]'")
        return cls(processor, tuple(fields)) if fields else None

    @classmethod
    def in_schema(cls, processor: str, schema: Mapping[str, Any] | None) -> Encryption | None:
        """What a daemon has declared, for who has not the code."""
        fields = tuple(map(str, (schema or {}).get(IN_SCHEMA, ())))
        return cls(processor, fields) if fields else None

    def shown(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema, which says it."""
        return {**schema, IN_SCHEMA: list(self.fields)}

    def sealed(self, data: Any) -> Any:
        """A payload as it is stored. OperatorError without a key."""
        if not isinstance(data, Mapping) or not any(name in data and not _token(data[name]) for name in self.fields):
            return data
        try:
            fernet = _fernet()
        except ValueError as missing:
            raise OperatorError(f"the payload of {self.processor!r} cannot be encrypted: {missing}") from None
        return {
            name: value if name not in self.fields or _token(value) else {TOKEN: self._seal(fernet, name, value)}
            for name, value in data.items()
        }

    def opened(self, data: str) -> str:
        """A payload as the model has it. PayloadLocked without the right key; PayloadInvalid, ValueError."""
        payload = json_text.loads(data)
        if not isinstance(payload, dict) or not any(map(_token, payload.values())):
            return data
        opened = {
            name: self._open(name, token) if (token := _token(value)) else value for name, value in payload.items()
        }
        return json_text.dumps(opened)

    def to_hide(self, data: str) -> str:
        """The same for who hides what was encrypted: all of it under the name of an encrypted field."""
        try:
            opened, payload = json_text.loads(self.opened(data)), json_text.loads(data)
        except (PayloadInvalid, ValueError):
            return data  # then nobody else knows it either
        if not isinstance(payload, dict):
            return data
        secrets = [opened[name] for name, value in payload.items() if _token(value)]
        return json_text.dumps({**opened, self.fields[0]: [*secrets, opened.get(self.fields[0])]})

    def _seal(self, fernet: Any, name: str, value: Any) -> str:
        said = json_text.dumps([self.processor, name, value])
        return str(fernet.encrypt(said.encode()).decode())

    def _open(self, name: str, token: str) -> Any:
        try:
            fernet = _fernet()
        except ValueError as missing:
            raise PayloadLocked(str(missing)) from None
        try:
            said = fernet.decrypt(token.encode())
        except _module().InvalidToken:
            raise PayloadLocked(f"no key of the secret {KEYS!r} opens {name!r}") from None
        processor, field, value = json_text.loads(said.decode())
        if (processor, field) != (self.processor, name):
            raise PayloadInvalid(f"{name}: was encrypted for another field, or for another processor")
        return value


def _token(value: Any) -> str | None:
    """What is in the place of an encrypted value."""
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(token := value.get(TOKEN), str):
        return token
    return None


def _marked(annotation: Any, inside: set[Any] | None = None) -> bool:
    """Does a mark stand in it (`Encrypted[str] | None`)? With `inside`, also in the models that it names."""
    if any(isinstance(each, _Mark) for each in getattr(annotation, "__metadata__", ())):
        return True
    if inside is not None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in inside:
            return False
        inside.add(annotation)
        fields = annotation.model_fields.values()
        return any(any(isinstance(m, _Mark) for m in f.metadata) or _marked(f.annotation, inside) for f in fields)
    return any(_marked(each, inside) for each in typing.get_args(annotation))


def _module() -> Any:
    return importlib.import_module("cryptography.fernet")


def _fernet() -> Any:
    """With the keys of this moment. ValueError says what is wrong with them, and never what they are."""
    keys = [key for key in _LISTED.split(secret(KEYS)) if key]
    redaction.learn(*keys)
    return _fernet_of(tuple(keys))


@functools.lru_cache(maxsize=4)
def _fernet_of(keys: tuple[str, ...]) -> Any:
    try:
        module = _module()
    except ImportError:
        raise ValueError("this needs the package cryptography: pip install 'actiond[encrypt]'") from None
    try:
        return module.MultiFernet([module.Fernet(key) for key in keys])
    except ValueError:
        raise ValueError(
            f"the secret {KEYS!r} has to be keys of Fernet, one a line, each 32 bytes in url-safe base64"
        ) from None
