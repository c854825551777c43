"""Finding processors: entry points, modules, files.

A name comes from the settings or from an installed package, never from a row. The same name twice is an
error, and so is a file that does not load; both say where.

Read again are the files and the modules that are named, with what is below a named package. What they import from
elsewhere stays as it was loaded, and so do installed packages: running handlers hold objects of them, and half of a
library anew is worse than all of it old. For that a daemon is restarted.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from actiond.contract.hooks import Enterable, enterable
from actiond.contract.processor import Processor, Source
from actiond.host import extras
from actiond.host.log_adapter import Adapter
from actiond.rules.error_text import ErrorText
from actiond.words.errors import (
    ActiondError,
    OperatorError,
    ProcessorFileBroken,
    ProcessorInvalid,
    ProcessorTwice,
    SettingInvalid,
)

GROUP = "actiond.processors"
BUILT_IN = "actiond.built_in"

#: Makes a processor of a built-in: (its name, its config) -> Processor.
Maker = Callable[[str, dict[str, Any]], Processor]


def find(sources: Iterable[str], packages: bool = True) -> dict[str, Processor]:
    """Name -> Processor, from modules and files and (unless told otherwise) installed packages.

    ProcessorTwice, ProcessorFileBroken.
    """
    found: dict[str, Processor] = {}
    for source in {_path(source) if is_file(source) else source: source for source in sources}.values():
        _add(found, load(source), source, _as_loaded(source))
    for entry in entry_points(group=GROUP) if packages else ():
        _add(found, _processors(_guarded(entry.value, entry.load), entry.value), entry.value, Source(entry.value))
    return found


def find_again(source: Source, name: str) -> Processor:
    """In another process: the processor of this name, in the text that was loaded there if it is of a file.

    ProcessorFileBroken; what the file imports is read as it is now.
    """
    if source.text is not None:
        processors = _processors(_guarded(source.name, lambda: _load_file(Path(source.name), source.text)), source.name)
    elif ":" in source.name:
        processors = _processors(_guarded(source.name, EntryPoint(name, source.name, GROUP).load), source.name)
    else:
        processors = load(source.name)
    for processor in processors:
        if processor.name == name:
            return processor
    raise ProcessorFileBroken(f"{source.name} has no processor {name!r} any more")


class Sources:
    """Named files and modules: found at the first call, read again at each later one."""

    def __init__(self, named: Sequence[str]) -> None:
        self._named = named
        self._loaded = False

    def __call__(self) -> dict[str, Processor]:
        """See find. If anything does not load, the modules from before stay in place."""
        modules = [] if not self._loaded else [source for source in self._named if not is_file(source)]
        before = {name: module for name, module in sys.modules.items() if _among(name, modules)}
        for name in before:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            found = find(self._named)
        except BaseException:
            for name in [name for name in sys.modules if _among(name, modules)]:
                del sys.modules[name]
            sys.modules.update(before)
            raise
        self._loaded = True
        return found


def _among(name: str, modules: Iterable[str]) -> bool:
    """One of these modules, or below one of these packages?"""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def built_ins() -> dict[str, Maker]:
    """The processors that need no Python of the user, by name. Each is loaded when a row first names it."""
    return {entry.name: functools.partial(make, entry) for entry in entry_points(group=BUILT_IN)}


def make(entry: EntryPoint, name: str, config: dict[str, Any]) -> Processor:
    """One built-in. OperatorError if a package is missing, ProcessorInvalid for a wrong config."""
    maker: Maker = _guarded(entry.value, lambda: extras.load(entry))
    made: Processor = _guarded(entry.value, lambda: maker(name, config))
    return made


def log_adapter(source: str) -> Adapter:
    """What the setting `log_adapter` names. OperatorError says why it cannot be had."""
    adapter: Adapter = _named(source)
    return adapter


def arounds(sources: str) -> tuple[Enterable, ...]:
    """What the setting `around` names, separated by commas. SettingInvalid says why it cannot be had."""
    try:
        return tuple(enterable(_named(source.strip())) for source in sources.split(",") if source.strip())
    except (OperatorError, ProcessorInvalid) as wrong:
        raise SettingInvalid(f"ACTIOND_AROUND: {' '.join(map(str, wrong.args))}") from None


def _named(source: str) -> Any:
    """module:callable. OperatorError says why it cannot be had."""
    module, _, name = source.partition(":")
    if not module or not name:
        raise OperatorError(f"{source!r} is not of the form module:callable")
    try:
        found = _guarded(source, lambda: functools.reduce(getattr, name.split("."), importlib.import_module(module)))
    except ProcessorFileBroken as broken:
        raise OperatorError(str(broken.args[0])) from None
    if not callable(found):
        raise OperatorError(f"{source} cannot be called")
    return found


def load(source: str) -> list[Processor]:
    """The processors of one module name or one path to a .py file."""
    if is_file(source):
        path = _path(source)
        if not path.is_file():
            raise ProcessorFileBroken(f"there is no file {source}")
        return _processors(_guarded(source, lambda: _load_file(path)), source)
    return _processors(_guarded(source, lambda: importlib.import_module(source)), source)


def is_file(source: str) -> bool:
    """A path, and not the name of a module?"""
    return source.endswith(".py") or "/" in source


def _path(source: str) -> Path:
    path: Path = _guarded(source, lambda: Path(source).expanduser().resolve())
    return path


class _Uncached(SourceFileLoader):
    """Reads the source every time: cached bytecode cannot tell two edits of one second and one size apart."""

    text: bytes | None = None  # as it was read; or, if given, what is taken instead

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        if self.text is None:
            self.text = self.get_data(path)
        return self.source_to_code(self.text, path)


def _module_name(path: Path) -> str:
    return "actiond_file_" + "".join(c if c.isalnum() else "_" for c in str(path))


def _as_loaded(source: str) -> Source:
    """Of a module or file that was loaded just now."""
    if not is_file(source):
        return Source(source)
    path = _path(source)
    loader = getattr(sys.modules.get(_module_name(path)), "__loader__", None)
    return Source(str(path), loader.text if isinstance(loader, _Uncached) else None)


def _load_file(path: Path, text: bytes | None = None) -> types.ModuleType:
    name = _module_name(path)
    loader = _Uncached(name, str(path))
    loader.text = text
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # its neighbours, as if it were run as a script
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def _guarded(source: str, loading: Callable[[], Any]) -> Any:
    """Whatever goes wrong in foreign code, in one line that says where."""
    try:
        return loading()
    except ActiondError:
        raise
    except (Exception, SystemExit) as broken:
        said = " ".join(ErrorText.of(broken).short.split())
        raise ProcessorFileBroken(f"{source}: {_where(broken)}{said}") from None


def _where(broken: BaseException) -> str:
    if isinstance(broken, SyntaxError):
        return f"line {broken.lineno}: "
    frames = [f for f in traceback.extract_tb(broken.__traceback__) if "importlib" not in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def _processors(thing: Any, source: str) -> list[Processor]:
    if isinstance(thing, Processor):
        return [thing]
    if not isinstance(thing, types.ModuleType):
        raise ProcessorFileBroken(f"{source} is neither a processor nor a module with some")
    # By type(): isinstance would also ask a lazy object that has nothing to do with us, and that may fail.
    return list(dict.fromkeys(value for value in vars(thing).values() if issubclass(type(value), Processor)))


def _add(found: dict[str, Processor], processors: list[Processor], source: str, again: Source) -> None:
    for processor in processors:
        processor.found_in(again)
        other = found.get(processor.name)
        if other is not None and other is not processor:
            raise ProcessorTwice(f"{processor.name!r} at {other.where} and at {processor.where} (from {source})")
        found[processor.name] = processor
