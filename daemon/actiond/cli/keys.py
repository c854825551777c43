"""Single keys from a terminal, as names; and the terminal as it was when that is over, however it ends."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

#: What terminals send for keys that are no letters.
_NAMES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "escape",
    b"\x03": "q",
    b"\x04": "q",
}
_LONGEST = 64


@contextmanager
def single_keys(terminal: int) -> Iterator[None]:
    """Keys arrive one by one and are not shown; Ctrl-C is a key, and Ctrl-Z does nothing."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal, termios.TCSANOW)
        raw = termios.tcgetattr(terminal)
        raw[1] = before[1]  # output as it was: a line feed begins a new line
        termios.tcsetattr(terminal, termios.TCSANOW, raw)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


async def next_keys(terminal: int) -> list[str]:
    """Wait for the next ones that mean something. Nothing at all: the terminal has gone."""
    while True:
        await anyio.wait_readable(terminal)
        try:
            typed = os.read(terminal, _LONGEST)
        except OSError:
            return []
        if not typed or (keys := names(typed)):
            return keys if typed else []


def names(typed: bytes) -> list[str]:
    """What was typed, key by key; letters as they are, other keys by name."""
    found = []
    while typed:
        special = max((code for code in _NAMES if typed.startswith(code)), key=len, default=None)
        if special is not None:
            found.append(_NAMES[special])
        elif 0x20 <= typed[0] < 0x7F:
            found.append(chr(typed[0]))
        typed = typed[len(special or b"-") :]
    return found
