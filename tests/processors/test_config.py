"""What all built-ins share: secrets by reference, templates, answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from actiond import Action, ProcessorInvalid, processor
from actiond.testing import run_batch
from actiond_processors import answers
from actiond_processors.config import Config, Hide, Secret, SecretRef, TextOrSecret, read, revealed
from actiond_processors.template import Template


class Example(Config):
    """A config with secrets wherever they can stand."""

    key: SecretRef | None = None
    more: dict[str, TextOrSecret] = Field({})


def key_of(given: Any) -> Secret:
    found = read(Example, "p", {"key": given}).key
    assert found is not None
    return found


def test_a_secret_is_found_in_a_variable_or_else_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api.key").write_text("of the file\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert key_of({"secret": "api.key"}).reveal() == "of the file"
    monkeypatch.setenv("ACTIOND_SECRET_API_KEY", "of the variable")
    assert key_of({"secret": "api.key", "prefix": "Bearer "}).reveal() == "Bearer of the variable"


def test_a_secret_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_K", "sesame-key")
    config = read(Example, "p", {"key": {"secret": "k"}, "more": {"a": {"secret": "k"}, "b": "text"}})
    for shown in (repr(config), str(config), f"{config.key}", repr(config.more)):
        assert "sesame" not in shown
    assert revealed(config.more["a"]) == "sesame-key"
    assert Hide(config)("my sesame-key, twice: sesame-key") == "my [hidden], twice: [hidden]"
    assert Hide(Example())("text") == "text"


NO_SECRETS = ["sesame", 5, *({"secret": name} for name in ("../etc", "a/b", "", "dsn", "listen_dsn", "no_such", ["a"]))]


@pytest.mark.parametrize("given", [*NO_SECRETS, {"secret": "x" * 101}, {"secret": "a", "file": "b"}], ids=range(11))
def test_what_is_no_secret_is_refused_without_being_shown(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dsn").write_text("postgresql://")
    (tmp_path / "listen_dsn").write_text("postgresql://")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ProcessorInvalid) as wrong:
        key_of(given)
    assert "'p': config key: " in str(wrong.value)
    assert "sesame" not in str(wrong.value)


def test_a_file_that_is_no_text_is_refused_without_being_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k").write_bytes(b"\xff\xfesesame")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ProcessorInvalid, match="cannot be read: it is no text"):
        key_of({"secret": "k"})


async def filled(text: str, payload: Any, related: str | None = "r 1") -> Any:
    template = Template(text)

    @processor("p")
    async def fill(action: Action[Any]) -> str:
        return template.fill(action)

    (ended,) = await run_batch(fill, [payload], related=[related])
    return ended.result if ended.kind == "completed" else ended


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no place, $5, {x}, $x", "no place, $5, {x}, $x"),
        ("${data.a.b.1} ${data.t} ${data.n}", "two true 1.5"),
        ("${id}/${related}/${attempt}/${idempotency_key}", "1/r 1/1/actiond-1"),
        ("$${data.t} ${data.t}", "${data.t} true"),
        ("${data.braces}", "${id}"),
    ],
)
async def test_a_template_is_filled(text: str, said: str) -> None:
    assert await filled(text, {"a": {"b": ["one", "two"]}, "t": True, "n": 1.5, "braces": "${id}"}) == said


@pytest.mark.parametrize("text", ["${data.none}", "${data.a.5}", "${data.a.b}", "${data.n}", "${data}", "${related}"])
async def test_a_value_that_is_not_there_is_final(text: str) -> None:
    ended = await filled(text, {"a": ["x"], "n": None}, related=None)
    assert ended.kind == "failed"
    assert ended.retries_left is None


@pytest.mark.parametrize("text", ["${", "${}", "${x}", "${data.}", "${data .a}", "${data.a", "${row}", "${data['a']}"])
def test_what_is_no_placeholder_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="is no placeholder"):
        Template(text)


def test_a_template_of_one_place_is_known() -> None:
    assert Template("${data.to}").only == "data.to"
    assert Template(" ${data.to}").only is None
    assert Template("$${data.to}").only is None


async def test_what_is_told_of_an_action_keeps_every_digit() -> None:
    @processor("p")
    async def tell(action: Action[Any]) -> str:
        return answers.told(action)

    (ended,) = await run_batch(tell, [{"n": 10**30, "é": "\n"}], states=[{"s": 1}], related=["r"])
    assert "\n" not in ended.result
    assert json.loads(ended.result) == {
        "id": 1, "related": "r", "attempt": 1, "idempotency_key": "actiond-1", "state": {"s": 1},
        "data": {"n": 10**30, "é": "\n"},
    }  # fmt: skip
