"""host/discovery: modules, files, names twice, and whatever goes wrong in foreign code said in one line."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from actiond.contract.processor import Source
from actiond.host import discovery
from actiond.host.discovery import Sources, find, find_again, is_file, load
from actiond.words.errors import AuthorError, ProcessorFileBroken, ProcessorInvalid, ProcessorTwice

MAIL = """
from actiond import Action, processor

@processor("mail")
def mail(action: Action[dict]) -> None: ...
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Loading files and modules changes the interpreter."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(text: str, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def names(sources: list[str]) -> list[str]:
    return sorted(find(sources, packages=False))


def test_a_path_is_told_from_the_name_of_a_module() -> None:
    assert [is_file(s) for s in ("a.py", "./a", "dir/a.py", "/srv/a.py")] == [True] * 4
    assert [is_file(s) for s in ("a", "my.module", "mypy")] == [False] * 3


def test_the_processors_of_a_file_are_found(write: Any) -> None:
    found = find([write(MAIL)], packages=False)
    assert list(found) == ["mail"]
    assert found["mail"].where.endswith("mine.py:4")


def test_a_file_is_found_from_where_one_stands_and_at_home(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(MAIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(["mine.py"]) == names(["./mine.py"]) == names(["~/mine.py"]) == ["mail"]


def test_the_processors_of_a_module_are_found(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(MAIL, "a_package_of_mine/inner.py")
    write("from a_package_of_mine.inner import mail", "a_package_of_mine/__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert names(["a_package_of_mine.inner"]) == ["mail"]
    assert names(["a_package_of_mine", "a_package_of_mine.inner"]) == ["mail"]


def test_a_file_may_import_its_neighbours(write: Any) -> None:
    write("GREETING = 'hello'", "a_neighbour_of_mine.py")
    assert names([write("from a_neighbour_of_mine import GREETING\n" + MAIL)]) == ["mail"]


def test_a_file_is_read_anew_each_time(write: Any) -> None:
    first = load(write(MAIL))
    path = write(MAIL.replace('"mail"', '"post"'))
    os.utime(path, (2_000_000_000, 2_000_000_000))  # compiled code is looked up by time and size
    assert [processor.name for processor in load(path)] == ["post"]
    assert [processor.name for processor in first] == ["mail"]


def test_nothing_is_found_in_an_empty_file(write: Any) -> None:
    assert names([write("")]) == []
    assert names([]) == []


def test_one_processor_under_two_names_in_python_is_one(write: Any) -> None:
    assert names([write(MAIL + "\nalias = mail\n")]) == ["mail"]


# The same name twice.


def test_the_same_name_twice_is_an_error_that_names_both_places(write: Any) -> None:
    first, second = write(MAIL, "first.py"), write("\n" + MAIL, "second.py")
    with pytest.raises(ProcessorTwice) as refused:
        find([first, second], packages=False)
    assert "'mail'" in str(refused.value)
    assert f"{first}:4" in str(refused.value)
    assert f"{second}:5" in str(refused.value)


def test_the_same_name_twice_in_one_file_is_an_error(write: Any) -> None:
    with pytest.raises(ProcessorTwice, match=r"mine.py:4 and at .*mine.py:9"):
        find([write(MAIL + MAIL.replace("def mail", "def post"))], packages=False)


def test_the_same_file_named_twice_is_read_once(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(MAIL)
    monkeypatch.chdir(tmp_path)
    assert names([path, "mine.py", "./mine.py"]) == ["mail"]


def test_a_lazy_object_of_a_file_is_not_woken(write: Any) -> None:
    lazy = """
    class Lazy:
        @property
        def __class__(self):
            raise RuntimeError("no application")

    lazy = Lazy()
    """
    assert names([write(MAIL + textwrap.dedent(lazy))]) == ["mail"]


# What does not load.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", ["SyntaxError", "line 1"]),
        ("x = 1\nraise ValueError('not today')", ["ValueError: not today", "mine.py:2"]),
        ("import no_such_module_anywhere", ["ModuleNotFoundError", "no_such_module_anywhere", "mine.py:1"]),
        ("def f():\n    return 1 / 0\nf()", ["ZeroDivisionError", "mine.py:2"]),
        ("raise SystemExit(3)", ["SystemExit: 3", "mine.py:1"]),
        ("import sys\nsys.exit('bye')", ["SystemExit: bye"]),
        ("from actiond import nothing_of_this_name", ["ImportError", "nothing_of_this_name"]),
        ("\x00", ["null bytes"]),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", ["E", "ZeroDivisionError", "mine.py:3"]),
        ("raise OSError('at postgresql://app:hunter22@db')", ["OSError: at postgresql://app:[hidden]@db"]),
    ],
    ids=ascii,
)
def test_a_broken_file_is_one_line_that_says_where(write: Any, text: str, said: list[str]) -> None:
    path = write(text)
    with pytest.raises(ProcessorFileBroken) as refused:
        find([path], packages=False)
    message = str(refused.value)
    assert all(each in message for each in [path, *said]), message
    assert "\n" not in message


def test_a_broken_neighbour_is_named(write: Any) -> None:
    write("x = (", "a_broken_neighbour.py")
    with pytest.raises(ProcessorFileBroken, match="a_broken_neighbour"):
        find([write("import a_broken_neighbour")], packages=False)


def test_an_error_of_several_lines_is_said_in_one(write: Any) -> None:
    with pytest.raises(ProcessorFileBroken) as refused:
        find([write("raise ValueError('one\\ntwo')")], packages=False)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_missing_module_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessorFileBroken, match=r"there is no file .*/nowhere\.py"):
        find([f"{tmp_path}/nowhere.py"], packages=False)
    with pytest.raises(ProcessorFileBroken, match="no_such_user"):
        find(["~no_such_user_anywhere/mine.py"], packages=False)
    with pytest.raises(ProcessorFileBroken, match="no file"):
        find([f"{tmp_path}/"], packages=False)
    with pytest.raises(ProcessorFileBroken, match="no_such_module_anywhere"):
        find(["no_such_module_anywhere"], packages=False)


@pytest.mark.parametrize("source", ["", ".", "..", ".relative", "a..b", "a-b c"])
def test_a_source_that_is_no_name_is_told(source: str) -> None:
    with pytest.raises(AuthorError):
        find([source], packages=False)


def test_what_the_author_is_told_of_a_processor_is_not_wrapped_again(write: Any) -> None:
    path = write(MAIL.replace('"mail"', '"mail", retries=-1'))
    with pytest.raises(ProcessorInvalid, match=r"retries"):
        find([path], packages=False)


def test_a_file_that_does_not_load_leaves_the_one_before_in_place(write: Any) -> None:
    load(write(MAIL))
    before = {name: module for name, module in sys.modules.items() if name.startswith("actiond_file_")}
    with pytest.raises(ProcessorFileBroken):
        load(write("raise ValueError"))
    assert {name: module for name, module in sys.modules.items() if name.startswith("actiond_file_")} == before


def test_a_file_that_never_loaded_leaves_no_trace(write: Any) -> None:
    with pytest.raises(ProcessorFileBroken):
        load(write("raise ValueError"))
    assert [name for name in sys.modules if name.startswith("actiond_file_")] == []


def test_ctrl_c_while_a_file_loads_is_not_its_fault(write: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(write("raise KeyboardInterrupt"))


# Modules, read again.


@pytest.fixture
def again(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """again(text, name): write a module that can be imported, as another text than before."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it knows the age of a text to the second only

    def again(text: str, name: str) -> None:
        write(text, name)

    return again


def test_a_named_module_is_read_again(again: Any) -> None:
    again(MAIL, "a_module_of_mine.py")
    sources = Sources(["a_module_of_mine"])
    first = sources()["mail"]
    again(MAIL.replace('"mail"', '"mail", retries=7'), "a_module_of_mine.py")
    second = sources()["mail"]
    assert (first.policy.retries, second.policy.retries) == (3, 7)


def test_what_is_below_a_named_package_is_read_again_and_one_processor_stays_one(again: Any) -> None:
    again(MAIL, "a_package_of_mine/inner.py")
    again("from a_package_of_mine.inner import mail", "a_package_of_mine/__init__.py")
    sources = Sources(["a_package_of_mine", "a_package_of_mine.inner"])
    assert [name for name in sources() if not name.startswith("actiond.")] == ["mail"]
    again(MAIL.replace('"mail"', '"mail", retries=7'), "a_package_of_mine/inner.py")
    assert sources()["mail"].policy.retries == 7


def test_what_a_named_module_imports_from_elsewhere_stays(again: Any) -> None:
    again("RETRIES = 1", "a_library_of_mine.py")
    again(
        "from a_library_of_mine import RETRIES\n" + MAIL.replace('"mail"', '"mail", retries=RETRIES'),
        "a_module_of_mine.py",
    )
    sources = Sources(["a_module_of_mine"])
    sources()
    library = sys.modules["a_library_of_mine"]
    again("RETRIES = 2", "a_library_of_mine.py")
    assert sources()["mail"].policy.retries == 1
    assert sys.modules["a_library_of_mine"] is library


@pytest.mark.parametrize("broken", ["raise ValueError", "def f(:", "import a_module_that_is_nowhere"])
def test_a_module_that_does_not_load_again_leaves_all_of_them_in_place(again: Any, broken: str) -> None:
    again(MAIL, "a_package_of_mine/inner.py")
    again("from a_package_of_mine.inner import mail", "a_package_of_mine/__init__.py")
    sources = Sources(["a_package_of_mine"])
    first = sources()["mail"]
    before = {name: module for name, module in sys.modules.items() if name.startswith("a_package_of_mine")}
    again(broken, "a_package_of_mine/__init__.py")
    with pytest.raises(ProcessorFileBroken):
        sources()
    assert {name: module for name, module in sys.modules.items() if name.startswith("a_package_of_mine")} == before
    again("from a_package_of_mine.inner import mail", "a_package_of_mine/__init__.py")
    assert sources()["mail"] is not first


# Installed packages.


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """installed("module:name", ...): as entry points of packages."""

    def install(*values: str) -> None:
        entries = [EntryPoint(value.rpartition(":")[2], value, discovery.GROUP) for value in values]
        monkeypatch.setattr(discovery, "entry_points", lambda group: entries if group == discovery.GROUP else [])

    return install


def test_processors_of_installed_packages_are_found(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Any
) -> None:
    write(MAIL, "a_package_of_mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    installed("a_package_of_mine:mail")
    assert list(find([])) == ["mail"]
    assert list(find([], packages=False)) == []
    installed("a_package_of_mine")
    assert list(find(["a_package_of_mine"])) == ["mail"]


def test_what_a_package_offers_is_a_processor_or_a_module(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Any
) -> None:
    write("several = []", "a_package_of_mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    installed("a_package_of_mine:several")
    with pytest.raises(ProcessorFileBroken, match="a_package_of_mine:several is neither"):
        find([])


def test_a_package_that_does_not_load_is_named(installed: Any) -> None:
    installed("no_such_package_anywhere:mail")
    with pytest.raises(ProcessorFileBroken, match="no_such_package_anywhere:mail"):
        find([])


def test_the_built_ins_are_known_by_name() -> None:
    made = discovery.built_ins()["sql_function"]("post_invoice", {"function": "billing.post_invoice"})
    assert made.name == "post_invoice"


def test_a_built_in_that_does_not_load_is_told_when_it_is_named() -> None:
    broken = EntryPoint("mine", "no_such_module_at_all:make", discovery.BUILT_IN)
    with pytest.raises(ProcessorFileBroken, match=r"no_such_module_at_all:make: .*No module named"):
        discovery.make(broken, "p", {})


def test_an_error_in_the_code_of_a_built_in_is_one_line() -> None:
    broken = EntryPoint("mine", "json:loads", discovery.BUILT_IN)
    with pytest.raises(ProcessorFileBroken, match=r"json:loads: .*TypeError"):
        discovery.make(broken, "p", {})


# In another process.


def test_a_file_is_found_again_as_it_was_loaded(write: Any) -> None:
    path = write(MAIL)
    source = find([path], packages=False)["mail"].source
    assert source is not None
    assert (source.name, source.text) == (path, MAIL.encode())
    write("def mail(:\n")
    again = find_again(source, "mail")
    assert (again.name, again.source) == ("mail", None)


def test_a_module_and_an_entry_point_are_found_again(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(MAIL, "a_module_of_mine_again.py")
    monkeypatch.syspath_prepend(tmp_path)
    found = find(["a_module_of_mine_again"], packages=False)["mail"]
    assert found.source == Source("a_module_of_mine_again")
    assert find_again(found.source, "mail") is found
    assert find_again(Source("a_module_of_mine_again:mail"), "mail") is found


def test_what_installed_packages_bring_says_where_it_is_found() -> None:
    assert find([])["actiond.verb"].source == Source("actiond_processors.verb:verb")


def test_a_processor_that_is_no_longer_there_is_told(write: Any) -> None:
    path = write(MAIL)
    with pytest.raises(ProcessorFileBroken, match="has no processor 'letter' any more"):
        find_again(Source(path, MAIL.encode()), "letter")
