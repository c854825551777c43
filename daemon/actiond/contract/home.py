"""What a processor finds in its module: resources to open, arounds that stand around everything there.

Its module is the one that declares it; for resources also those that its handler and its hooks are written in. Looked
for by name: what a module imports by name is in it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actiond.contract.hooks import Enterable, Everywhere, flat
from actiond.contract.payload import written
from actiond.contract.processor import Processor
from actiond.contract.resource import Resource


def resources(processors: Iterable[Processor]) -> list[Resource[Any]]:
    """All that these may ask for, in the order in which to open them: what a resource names comes before it."""
    found: dict[Resource[Any], None] = {}
    for processor in processors:
        for home in _homes(processor):
            for resource in _of_kind(home.values(), Resource):
                _add(resource, found, ())
    return list(found)


def arounds(processor: Processor, outside: Iterable[Enterable] = ()) -> tuple[Enterable, ...]:
    """Around each of its batches, the outermost first: those of the daemon, of its module, its own."""
    return flat((outside, (each.of for each in _of_kind(processor.home.values(), Everywhere)), processor.around))


def _homes(processor: Processor) -> list[Mapping[str, Any]]:
    code = [processor.handler, processor.finalize, *(each.given for each in arounds(processor))]
    return [processor.home, *(getattr(written(each), "__globals__", {}) for each in code if each is not None)]


def _add(resource: Resource[Any], found: dict[Resource[Any], None], within: tuple[Resource[Any], ...]) -> None:
    if resource in found or resource in within:  # in a circle nobody can be first: opening one says so
        return
    for needed in _of_kind((resource.home.get(name) for name in resource.names), Resource):
        _add(needed, found, (*within, resource))
    found[resource] = None


def _of_kind(values: Iterable[Any], kind: type) -> list[Any]:
    # By type(): isinstance would also ask a lazy object that has nothing to do with us, and that may fail.
    return [value for value in list(values) if issubclass(type(value), kind)]
