"""The name of a processor -> names that Python takes, and the texts of its file and of its test.

A name of a processor may be anything printable, `send-mail` or `größe/2`; a function and a module need an identifier,
and a module one that hides no other: a file email.py would take the place of Python's own for its whole folder.
"""

from __future__ import annotations

import builtins
import json
import keyword
import sys
import unicodedata
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from string import Template

LONGEST = 60  # characters of an identifier, so that with what is put around it any file system takes it
#: What the templates call something else.
_TAKEN = {"Action", "BaseModel", "Batch", "Failure", "Payload", "SUDDEN_DEATH", "action", "asyncio", "batch"}
_TAKEN |= {"batch_processor", "done", "empty", "misfit", "processor", "run_batch"}


def function_name(processor: str) -> str:
    """`send-mail` -> send_mail; with `run_` before what is no identifier, or a word that means something else."""
    # As the parser reads identifiers: else the name of the file and the one that is imported would differ.
    letters = unicodedata.normalize("NFKC", processor)
    word = "".join(c if f"_{c}".isidentifier() else "_" for c in letters)[:LONGEST].strip("_")
    taken = word in _TAKEN or keyword.iskeyword(word) or keyword.issoftkeyword(word) or hasattr(builtins, word)
    if taken or not word.isidentifier() or word.lower().startswith("test"):  # pytest would take it for a test
        return f"run_{word}".rstrip("_")
    return word


def module_name(function: str) -> str:
    """The same, unless that would hide a module."""
    return f"{function}_processor" if hides_another(function) else function


def hides_another(module: str) -> bool:
    """Is there such a module in Python itself, or in an installed package?"""
    return module in sys.stdlib_module_names or module in packages_distributions()


def is_module_name(stem: str) -> bool:
    """Can it be imported?"""
    return stem.isidentifier() and not keyword.iskeyword(stem)


def imported_as(file: Path) -> str:
    """The module as a test beside it imports it: with the packages that its folder belongs to."""
    parts, folder = [file.stem], file.absolute().parent
    while (folder / "__init__.py").is_file():
        parts.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(parts))


def processor_text(name: str, *, batch: bool) -> str:
    """A file with one processor."""
    literal = json.dumps(name, ensure_ascii=False)  # is one in Python, too: nothing in a name needs more
    return _filled("batch" if batch else "each", name=literal, function=function_name(name))


def text_of_test(name: str, file: Path) -> str:
    """Its test."""
    return _filled("test", module=imported_as(file), function=function_name(name))


def _filled(template: str, **values: str) -> str:
    text = (files("actiond.cli") / "templates" / f"{template}.txt").read_text("utf-8")
    return Template(text).substitute(values)
