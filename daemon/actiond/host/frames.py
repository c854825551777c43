"""Messages between the daemon and its worker processes: JSON objects, each behind its length in four bytes.

Nothing that arrives is ever more than plain values: a worker holds the code of an author and the data of a producer,
and either may go wrong in any way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

Message = dict[str, Any]

LONGEST = 64 << 20  # bytes; a row has a few hundred kilobytes
_HEAD = 4


def packed(message: Mapping[str, Any]) -> bytes:
    """As it is sent. ValueError for one that is too long."""
    body = json.dumps(message).encode()
    if len(body) > LONGEST:
        raise ValueError(f"a message of {len(body):,} bytes")
    return len(body).to_bytes(_HEAD) + body


class Unpacker:
    """Messages out of what arrives, in pieces of any length."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Those that are whole now. ValueError for what is no message."""
        rest = self._rest
        rest += data
        while len(rest) >= _HEAD:
            end = _HEAD + _length(rest[:_HEAD])
            if len(rest) < end:
                return
            body = bytes(rest[_HEAD:end])
            del rest[:end]
            yield _message(body)


def read(file: BinaryIO) -> Message | None:
    """The next message; None at the end."""
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    body = file.read(length := _length(head))
    return _message(body) if len(body) == length else None


def _length(head: bytes | bytearray) -> int:
    length = int.from_bytes(head)
    if length > LONGEST:
        raise ValueError(f"a message of {length:,} bytes")
    return length


def _message(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("no object")  # noqa: TRY004 - one error for all
    return message
