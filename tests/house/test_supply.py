"""What the project is made of: pinned by hash, under licences that ask for nothing, and told in full."""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

import supply
from house.source import BUILT_INS, DAEMON, ROOT, python_files, short

#: Licences under which anybody may use, change and pass on, also inside something closed. As metadata spells them.
PERMISSIVE = {
    "0BSD", "Apache 2.0", "Apache License Version 2.0", "Apache Software License", "Apache-2.0", "BSD License",
    "BSD-2-Clause", "BSD-3-Clause", "ISC License (ISCL)", "MIT", "MIT License", "MIT-0", "PSF-2.0",
    "PostgreSQL", "Python Software Foundation License",
}  # fmt: skip
#: The others, and why each may be here. The MPL asks for the changes of its own files, which nobody makes.
OTHERS = {
    "certifi": "MPL-2.0: a list of certificates, as it is; comes with httpx, for the extra `http`, and with pip-audit",
    "fqdn": "MPL-2.0: comes with cyclonedx-bom, which looks from an environment of its own",
    "hypothesis": "MPL-2.0: a tool of the tests",
    "orjson": "MPL-2.0 in parts: the extra `fast`, which nobody needs",
    "pathspec": "MPL-2.0: comes with mypy",
}
LOCKS = ("requirements.lock", "supply.lock")
SUPPLY = sorted((ROOT / "build" / "supply").glob("lib/python*/site-packages"))


def licences(of: Distribution) -> set[str]:
    """What its metadata says, in one of the three ways in which metadata does; empty: nothing."""
    said = of.metadata
    if expression := said.get("License-Expression"):
        return {each.strip(" ()") for each in re.split(r"\bAND\b|\bOR\b", expression)}
    classified = {each.split(" :: ")[-1] for each in said.get_all("Classifier") or () if each.startswith("License :: ")}
    classified.discard("OSI Approved")
    written = " ".join((said.get("License") or "").split())
    return classified or ({re.sub("(?i)license$", "License", written)} if written and len(written) < 50 else set())


def unfit(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Those that are neither permissive nor known, and those that say nothing."""
    return {
        name: said - PERMISSIVE
        for name, said in found.items()
        if (said - PERMISSIVE or not said) and name not in OTHERS
    }


def installed(*folders: Path) -> dict[str, set[str]]:
    there = distributions(path=list(map(str, folders))) if folders else distributions()
    return {supply.plain(each.name): licences(each) for each in there}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_the_hashes_of_its_files(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(supply.packages(text)) > 20
    assert supply.without_hash(text) == []
    assert "://" not in text  # neither an index nor a file from somewhere


def test_a_package_without_a_hash_is_found() -> None:
    whole = f"a==1 \\\n    --hash=sha256:{'0' * 64}\nb==2\n"
    assert supply.packages(whole) == {"a": "1", "b": "2"}
    assert supply.without_hash(whole) == ["b==2"]
    assert supply.without_hash("a @ git+ssh://example.org/a\n") == ["a"]
    assert supply.without_hash(f"a==1 \\\n    --hash=md5:{'0' * 32}") == ["a==1"]


def test_everything_that_is_required_is_pinned() -> None:
    pinned = {supply.plain(name) for name in supply.packages((ROOT / "requirements.lock").read_text())}
    assert supply.used() - pinned == set()
    assert {"asyncpg", "pydantic-core", "h11"} <= supply.used()
    assert not {"pytest", "mypy", "hypothesis"} & supply.used()


def test_licences_are_permissive() -> None:
    found = installed()
    assert len(found) > 40
    assert unfit(found) == {}


@pytest.mark.skipif(not SUPPLY, reason="`make sbom` makes the environment of these tools")
def test_licences_of_the_tools_that_look_at_packages_are_permissive() -> None:
    assert unfit(installed(*SUPPLY)) == {}


def test_a_licence_that_asks_for_something_is_found() -> None:
    assert unfit({"a": {"GPL-3.0-only"}, "b": {"MIT", "LGPL-2.1"}, "c": set(), "d": {"MIT"}}) == {
        "a": {"GPL-3.0-only"}, "b": {"LGPL-2.1"}, "c": set(),
    }  # fmt: skip


def test_who_is_excepted_is_there_and_is_under_the_mozilla_licence() -> None:
    found = {**installed(), **(installed(*SUPPLY) if SUPPLY else {})}
    for name in OTHERS.keys() & found.keys():
        assert any("MPL" in said for said in found[name]), name
    assert OTHERS.keys() - found.keys() <= {"fqdn"}


# The audit, and the bill.

LOCK = {"a": "1", "b": "2"}
FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}


def report(**flaws: list[dict[str, object]] | None) -> dict[str, object]:
    """What pip-audit says; None: it could not look."""
    return {
        "dependencies": [
            {"name": name, "skip_reason": "not found"}
            if vulns is None
            else {"name": name, "version": "1", "vulns": vulns}
            for name, vulns in flaws.items()
        ]
    }


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (report(a=[], b=[]), 0, "nothing is known against the 2 packages"),
        (report(a=[FLAW], b=[]), 1, "a 1: PYSEC-1, fixed in 1.1"),
        (report(a=[FLAW], b=None), 1, "a 1: PYSEC-1"),
        (report(a=[], b=None), 2, "not audited: 1 of 2 packages could not be looked up (b)"),
        (report(a=None, b=None), 2, "not audited: 2 of 2"),
        (report(), 2, "not audited: 2 of 2"),
    ],
    ids=["clean", "known", "known_and_skipped", "one_skipped", "all_skipped", "empty"],
)
def test_an_audit_that_could_not_look_is_none(said: dict[str, object], code: int, words: str) -> None:
    found = supply.judged(said, LOCK)
    assert found[0] == code
    assert words in found[1][0]


def test_an_audit_that_breaks_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'ConnectionError: no network' >&2\nexit 1\n")
    tool.chmod(0o755)
    assert supply.audit(str(tool)) == 2
    said = capsys.readouterr().out
    assert said.startswith("not audited: pip-audit could not look (ConnectionError: no network).")
    assert said.count("\n") == 1


def test_the_bill_names_what_users_get_and_no_tool_of_developers() -> None:
    bom = {
        "metadata": {"component": {"bom-ref": "root"}},
        "components": [{"name": name, "bom-ref": f"{name}==1"} for name in ("A_b", "pytest")],
        "dependencies": [{"ref": "root", "dependsOn": ["A_b==1"]}, {"ref": "A_b==1", "dependsOn": ["pytest==1"]},
                         {"ref": "pytest==1"}],
    }  # fmt: skip
    bill = supply.of_users(bom, {"a-b"})
    assert [each["name"] for each in bill["components"]] == ["A_b"]
    assert bill["dependencies"] == [{"ref": "root", "dependsOn": ["A_b==1"]}, {"ref": "A_b==1", "dependsOn": []}]


@pytest.mark.skipif(not supply.SBOM.exists(), reason="`make sbom` writes it")
def test_the_bill_that_was_written_is_of_what_is_used() -> None:
    bill = json.loads(supply.SBOM.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "actiond"
    assert {supply.plain(each["name"]) for each in bill["components"]} == supply.used()
    assert all(each.get("licenses") for each in bill["components"])
    assert str(ROOT) not in supply.SBOM.read_text()


# What ruff looks for: its rules of security (S) hold for everything that users get.

#: file -> rules that a line of it leaves out, and why each is no danger there.
LEFT_OUT = {
    "daemon/actiond/batch/crew.py": ("S311", "jitter of pauses"),
    "daemon/actiond/batch/execute_each.py": ("S311", "jitter of pauses"),
    "daemon/actiond/batch/transaction.py": ("S311", "jitter of pauses"),
    "daemon/actiond/batch/worker.py": ("S311", "jitter of pauses"),
    "daemon/actiond/contract/encryption.py": ("S105", "the name of a field"),
    "daemon/actiond/host/systemd_files.py": ("S108", "folders that a unit is refused to stand in"),
    "daemon/actiond/loops/clerks.py": ("S311", "jitter of pauses"),
    "daemon/actiond/loops/policy_loop.py": ("S311", "jitter of pauses"),
    "daemon/actiond/loops/processor_loop.py": ("S311", "jitter of pauses"),
    "daemon/actiond/loops/schedule_loop.py": ("S311", "jitter of pauses"),
    "daemon/actiond/postgres/presence.py": ("S311", "jitter of pauses"),
    "daemon/actiond/testing/databases.py": ("S108", "a folder of its own is made there"),
    "processors/actiond_processors/http_call.py": ("S113", "each request has a deadline of its own"),
}
_NOQA = re.compile(r"# noqa: .*\b(S\d{3})")


def test_what_a_line_leaves_out_of_the_rules_of_security_is_known() -> None:
    found = {
        short(path): {match[1] for match in _NOQA.finditer(path.read_text())}
        for path in python_files(DAEMON, BUILT_INS)
        if _NOQA.search(path.read_text())
    }
    assert found == {name: {rule} for name, (rule, _) in LEFT_OUT.items()}


def test_the_rules_of_security_are_on_and_no_others_are_left_out() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.mypy]")]
    assert re.search(r'select = \[[^]]*"S"', lint)
    # assert; the launcher, which uses no shell; random numbers of a demo and of tests; text for people.
    assert re.findall(r'"(S\d*)"', lint[lint.index("ignore") :]) == ["S101", "S603", "S", "S311", "S608", "S311"]
