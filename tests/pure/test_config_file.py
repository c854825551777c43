"""The configuration file as text: YAML without its traps, errors that say where and what, the same text every time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from actiond.cli import config_read, config_write
from actiond.words.errors import ConfigFileInvalid

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
#: What YAML could take for something else, for its own signs, or for another end of a line.
TRAPS = st.lists(
    st.sampled_from(
        [*"a0- \t\n\r#:'\"|%&*!?[]{},.~\u2028\u2029\x85\x07\ufeffé", "no", "22:00", "1e3", "0x1F", "null", "2026-03-28"]
    ),
    max_size=6,
).map("".join)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TRAPS | NAMES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TRAPS | NAMES, below, max_size=3),
    max_leaves=6,
)


def data_of(text: str) -> Any:
    """What a schedule inserts."""
    return config_read.read(f"version: 1\nschedules:\n  s:\n    p:\n      cron: '@daily'\n{text}", "f").state[
        "schedules"
    ]["s", "p"]["data"]


def refused(text: str) -> str:
    with pytest.raises(ConfigFileInvalid) as wrong:
        config_read.read(text, "prod.yaml")
    assert wrong.value.exit_code == 2
    assert "\n" not in str(wrong.value)
    return str(wrong.value)


@given(VALUES)
@example(["1e3", "-0", "1.5E+3", "no", "22:00", "0123", "true", "~", "", "-", "=", "<<", "2026-03-28"])
@example("a\n\n")
@example(["\n", " \n", "a\n ", " a\nb", "\na", "a\r\nb", "a\tb \n c", "\x85", "a\u2028b", "# a\nb", "- a\n--- b\n"])
@example({"": "", "no": {"1e3": None}, "a\n\n": "b\n\n\n"})
def test_whatever_is_written_comes_back(value: Any) -> None:
    state = {"processors": {}, "schedules": {("s", "p"): {"cron": "@daily", "data": value}}, "plans": {}}
    text = config_write.write(state, list(state))
    assert repr(config_read.read(text, "f").state) == repr(state)


@given(TRAPS | NAMES)
def test_another_reader_of_yaml_reads_the_same_texts(value: str) -> None:
    state = {"plans": {(value,): {"source": value, "processor": "p", "description": value}}}
    (plan,) = yaml.safe_load(config_write.write(state, ["plans"]))["plans"].items()
    assert plan == (value, {"source": value, "processor": "p", "description": value})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("22:00", "22:00"),
        ("1:30:00", "1:30:00"),
        ("2026-03-28", "2026-03-28"),
        ("2026-03-28 12:00:00", "2026-03-28 12:00:00"),
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("True", "True"),
        ("=", "="),
        ("<<", "<<"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-1.5e3", -1500.0),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("{22:00: no}", {"22:00": "no"}),
        ("[no, 12, {a: b}]", ["no", 12, {"a": "b"}]),
    ],
)
def test_a_plain_text_is_what_it_looks_like(written: str, value: Any) -> None:
    assert repr(data_of(f"      data: {written}\n")) == repr(value)


def test_a_query_stands_as_it_was_written() -> None:
    query = "select id,\temail \n  from public.customer\n where country = 'DE' -- not: yes\n"
    state = {"plans": {("spring letter",): {"source": query, "processor": "send"}}}
    text = config_write.write(state, ["plans"])
    assert "    source: |\n      select id,\temail \n        from public.customer\n" in text
    assert config_read.read(text, "f").state == state


def test_the_text_begins_with_what_it_is_and_is_always_the_same() -> None:
    state = {"plans": {("b",): {"source": "x", "processor": "p"}, ("a",): {"source": "y", "processor": "p"}}}
    turned = {"plans": dict(reversed(state["plans"].items()))}
    text = config_write.write(state, ["plans"])
    assert text == config_write.write(turned, ["plans"])
    assert text.startswith("# Configuration of actiond")
    assert "\nversion: 1\n" in text
    assert text.index("\n  a:") < text.index("\n  b:")
    assert "schedules" not in yaml.safe_load(text)


def test_the_file_in_the_manual_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    state = config_read.read(text, "operating.md").state
    assert config_read.read(config_write.write(state, list(state)), "again").state == state
    assert [len(things) for things in state.values()] == [1, 1, 1]


HEAD = "version: 1\n"
ONE = f"{HEAD}schedules:\n  s:\n    p:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: it is empty; it begins with `version: 1`"),
        ("- a\n", "1: the file has names with values (`name: value`)"),
        ("plans: {}\n", "1: it begins with `version: 1`, the format that this actiond reads"),
        ("\nversion: 2\n", "2: it begins with `version: 1`, the format that this actiond reads"),
        ("version: true\n", "1: it begins with `version: 1`, the format that this actiond reads"),
        (f"{HEAD}plan: {{}}\n", "2: there is no section 'plan' (there are: version, processors, schedules, plans)"),
        (f"{HEAD}plans: []\n", "2: plans: each name has names with values (`name: value`)"),
        (f"{HEAD}schedules:\n  s: daily\n", "3: schedules: each processor has names with values (`name: value`)"),
        (f"{HEAD}schedules:\n  s:\n    p: 7\n", "4: schedule s for p has names with values (`name: value`)"),
        (f"{ONE}      crno: '@daily'\n", "5: schedule s for p: there is no field 'crno' (there are: cron, every,"),
        (f"{ONE}      cron: '@daily'\n      cron: '@hourly'\n", "6: schedule s for p: 'cron' stands there twice"),
        (f"{ONE}      cron: '@daily'\n    p: {{}}\n", "6: schedules: each processor: 'p' stands there twice"),
        (f"{ONE}      priority: 2\n", "4: schedule s for p: a schedule has either cron or every"),
        (f"{ONE}      cron: '@daily'\n      every: 5 min\n", "4: schedule s for p: a schedule has either cron or ever"),
        (f"{ONE}      cron: 61 * * * *\n", "4: schedule s for p: "),
        (f"{ONE}      cron: '@daily'\n      timezone: Mars\n", "4: schedule s for p: "),
        (f"{ONE}      every: 5\n", "5: schedule s for p: every: a duration, as '5 min' or '1 h 30 min', not 5"),
        (f"{ONE}      every: 5 parsecs\n", "5: schedule s for p: every: not a duration: '5 parsecs'"),
        (f"{ONE}      priority: 4\n", "5: schedule s for p: priority: a whole number from 0 to 3, not 4"),
        (f"{ONE}      priority: true\n", "5: schedule s for p: priority: a whole number from 0 to 3, not true"),
        (f"{ONE}      enabled: no\n", '5: schedule s for p: enabled: true or false, not "no"'),
        (f"{ONE}      missed: none\n", '5: schedule s for p: missed: one of once, skip, all, not "none"'),
        (f"{ONE}      environments: production\n", "5: schedule s for p: environments: a list of names, as [productio"),
        (f"{ONE}      environments: [1]\n", "5: schedule s for p: environments: a list of names, as [production,"),
        (f"{ONE}      starts_at: 2026-03-28\n", "5: schedule s for p: starts_at: a time with its offset, as 2026-"),
        (f"{ONE}      related: 12\n", "5: schedule s for p: related: a text, not 12 (what looks like something else"),
        (f"{ONE}      cron: '@daily'\n      related: x\n", "4: schedule s for p: a wake is about no record"),
        (f"{HEAD}schedules:\n  s:\n    a b:\n      cron: '@daily'\n", "4: schedule s for a b: 'a b' is no name of a p"),
        (f"{HEAD}processors:\n  p:\n    batch_size: '50'\n", "4: processor p: batch_size: a whole number from 1 to"),
        (f"{HEAD}processors:\n  p:\n    batch_size: auto\n", "4: processor p: batch_size: 'auto' is declared by the"),
        (f"{HEAD}processors:\n  p:\n    retries: '5'\n", "4: processor p: retries: a whole number from 0 to 2000000"),
        (f"{HEAD}processors:\n  p:\n    rate: null\n", "4: processor p: rate: "),
        (f"{HEAD}processors:\n  p:\n    woken_at: x\n", "4: processor p: there is no field 'woken_at' (there are: use"),
        (f"{HEAD}plans:\n  x:\n    processor: p\n", "3: plan x: a plan needs a source"),
        (f"{HEAD}plans:\n  x:\n    source: y\n", "3: plan x: a plan needs a processor"),
        (f"{HEAD}plans:\n  x:\n    abort_percent: 100\n", "4: plan x: abort_percent: a number from 0 to less than 100"),
        (f"{HEAD}plans:\n  x:\n    mapping: [a]\n", '4: plan x: mapping: names with values, not ["a"]'),
        (f"{ONE}      data: &a [1]\n      related: *a\n", "6: an alias is not read here: write it out"),
        (f"{ONE}      data: !!python/object:os.system x\n", "5: what is tagged tag:yaml.org,2002:python/object:os.sys"),
        (f"{ONE}      data: !!int abc\n", "5: what is tagged tag:yaml.org,2002:int is not read here"),
        (f"{ONE}      data: !!set {{a}}\n", "5: it has names with values"),
        (f"{ONE}      data: {'9' * 5000}\n", "5: a number of too many digits"),
        (f"{ONE}      data: \"\\0\"\n", "5: schedule s for p: data: it holds a NUL character, which Postgres cannot s"),
        (f"{HEAD}a: [\n", "3: "),
        (f"{HEAD}a: \x01\n", "2: special characters are not allowed"),
        (f"{HEAD}---\n{HEAD}", "2: but found another document"),
        (f"{HEAD}a: {'[' * 5000}", " nested too deeply"),
        (
            f"{ONE}      cron: '@daily'\n    q:\n      cron: '@daily'\n      name_enabled: false\n",
            "6: schedule s: name_enabled is one switch for all its processors; p says true",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line_and_what_is_allowed(text: str, said: str) -> None:
    assert refused(text).startswith(f"prod.yaml:{said}")
