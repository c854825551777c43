"""Checking a payload before it is asked for: by the processor itself where it is at hand, else by the schema that a
daemon has declared for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actiond.contract import json_schema
from actiond.contract.encryption import Encryption
from actiond.contract.processor import Processor
from actiond.postgres.statements import Statements
from actiond.words import json_text
from actiond.words.errors import OperatorError

_sql = Statements()


class Fetches(Protocol):
    """An asyncpg connection, or a pool."""

    async def fetch(self, query: str, *args: Any) -> Any: ...


async def checker(connection: Fetches, processor: Processor | str) -> Callable[[Any], None]:
    """A function that raises PayloadInvalid. OperatorError for a processor that nobody has declared."""
    if isinstance(processor, Processor):
        known = processor
        return lambda data: _decoded(known, data)
    schema = await schema_of(connection, processor)
    return json_schema.checker(schema) if schema is not None else lambda data: None


async def sealer(connection: Fetches, processor: str) -> Callable[[Any], Any] | None:
    """A function that encrypts what a daemon has declared to be encrypted; None: nothing, or nobody has declared it."""
    rows = await connection.fetch(_sql["processor_payload"], processor)
    schema = json_text.loads_or_none(rows[0]["payload"]) if rows else None
    encryption = Encryption.in_schema(processor, schema)
    return None if encryption is None else encryption.sealed


async def schema_of(connection: Fetches, processor: str) -> dict[str, Any] | None:
    """What its payloads look like, as JSON schema; None: any JSON will do. OperatorError for one that is not known."""
    rows = await connection.fetch(_sql["processor_payload"], processor)
    if not rows:
        raise OperatorError(f"no daemon has declared a processor {processor!r}, so its payloads cannot be checked")
    found = json_text.loads_or_none(rows[0]["payload"])
    return found if isinstance(found, dict) else None


def _decoded(processor: Processor, data: Any) -> None:
    processor.decode(json_text.dumps(data))
