"""What an exception costs its action, by its class: `dead_on` and `retry_on` of a processor.

The nearest class decides: of an exception's own class and its bases, in the order Python looks them up, the first
that is named. What neither list names is retried; once `retry_on` is given, only what it names is, and the rest dies.
A group of exceptions dies only if everything in it would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actiond.words.outcome import ALLOW_RETRY, SUDDEN_DEATH, Failure, RetryBehavior

Classes = type[BaseException] | Iterable[type[BaseException]]


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """The two lists of one processor. Make it with `of`, which checks them."""

    dead_on: frozenset[type[BaseException]] = frozenset()
    retry_on: frozenset[type[BaseException]] = frozenset()

    @classmethod
    def of(cls, dead_on: Classes, retry_on: Classes) -> ErrorPolicy:
        """ValueError says what is no exception class, or stands in both lists."""
        dead, retried = _classes("dead_on", dead_on), _classes("retry_on", retry_on)
        if both := sorted(each.__qualname__ for each in dead & retried):
            raise ValueError(f"{', '.join(both)} cannot be in dead_on and in retry_on")
        return cls(dead, retried)

    def behavior(self, error: object) -> RetryBehavior:
        """SUDDEN_DEATH or ALLOW_RETRY; what is no exception (a text) is retried."""
        if not isinstance(error, BaseException) or not (self.dead_on or self.retry_on):
            return ALLOW_RETRY
        return SUDDEN_DEATH if all(self._kills(type(each)) for each in _members(error)) else ALLOW_RETRY

    def _kills(self, kind: type[BaseException]) -> bool:
        for each in kind.__mro__:
            if each in self.dead_on:
                return True
            if each in self.retry_on:
                return False
        return bool(self.retry_on)


#: Whatever is raised costs a retry.
PLAIN = ErrorPolicy()


def _classes(name: str, given: object) -> frozenset[type[BaseException]]:
    classes = given if isinstance(given, Iterable) and not isinstance(given, type | str) else [given]
    return frozenset(_class(name, each) for each in classes)


def _class(name: str, given: object) -> type[BaseException]:
    if not isinstance(given, type) or not issubclass(given, BaseException):
        wrong = f"exception classes, not {given!r}"
    elif issubclass(given, Failure):
        wrong = f"a {given.__qualname__} says itself what it costs"
    elif issubclass(given, BaseExceptionGroup):
        wrong = f"a group is judged by what is in it, so {given.__qualname__} says nothing here"
    else:
        return given
    raise ValueError(f"{name}: {wrong}")


def _members(error: BaseException) -> Iterator[BaseException]:
    """The exception, or those in a group and in its groups."""
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        else:
            yield each
