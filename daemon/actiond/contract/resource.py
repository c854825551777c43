"""Resources: what handlers share for as long as a daemon lives, an HTTP client or a pool.

    @lifespan
    async def bank() -> AsyncIterator[AsyncClient]:
        async with AsyncClient(base_url="https://bank.example.org") as client:
            yield client

    @processor("charge")
    async def charge(action: Action[Charge]) -> str:
        answer = await bank.value.post("/charges", json=action.data.model_dump())

Opened before the first row is claimed, closed when the last call has ended. Handlers get at it by its name and not
by an argument: so its type is known to whoever checks types, and a handler is called with its action and nothing else.

Which one is open is a context variable, so it follows a call into its tasks and its thread, and two tests that open
the same one do not meet.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from actiond.words.errors import ResourceInvalid, ResourceNotOpen

T = TypeVar("T")


class Resource(Generic[T]):
    """Made by `lifespan`. `value` is what it yields, while it is open."""

    def __init__(self, make: Callable[[], AsyncIterator[T]]) -> None:
        code = getattr(make, "__code__", None)
        where = f"{code.co_filename}:{code.co_firstlineno}" if code else repr(make)
        if not inspect.isasyncgenfunction(make):
            raise ResourceInvalid(f"{where}: an async function with one `yield` is wanted")
        if any(each.default is each.empty for each in inspect.signature(make).parameters.values()):
            raise ResourceInvalid(f"{where}: it is called without arguments")
        self.name: str = make.__name__
        self.where = where
        #: The names of the module that it is written in.
        self.home: Mapping[str, Any] = make.__globals__
        #: Those of them that it uses.
        self.names: tuple[str, ...] = make.__code__.co_names
        self._make = asynccontextmanager(make)

    @property
    def value(self) -> T:
        """What it yielded. ResourceNotOpen where it is not: outside of handlers, or nobody opened it."""
        try:
            return cast("T", _open.get()[self])
        except KeyError:
            raise ResourceNotOpen(f"{self.name!r} at {self.where}") from None

    def open(self) -> AbstractAsyncContextManager[T]:
        """Around its life, for who owns it: a daemon, a test."""
        return self._make()

    def __repr__(self) -> str:
        return f"<Resource {self.name} at {self.where}>"


def lifespan(make: Callable[[], AsyncIterator[T]]) -> Resource[T]:
    """A resource of the processors in this module, and in those that import it by name.

    What stands before the `yield` opens it, what stands behind closes it. ResourceInvalid for anything but an async
    function with a `yield`, without parameters.
    """
    return Resource(make)


#: Those that are open, and what they yielded.
Opened = Mapping[Resource[Any], Any]

_NONE: Opened = MappingProxyType({})
_open: ContextVar[Opened] = ContextVar("actiond_resources", default=_NONE)


def offer(opened: Opened) -> None:
    """From now on in this task."""
    _open.set(opened)


@contextmanager
def offered(opened: Opened) -> Iterator[None]:
    """In here."""
    token = _open.set(opened)
    try:
        yield
    finally:
        _open.reset(token)
