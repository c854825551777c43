"""The page of the built-in processors: its tables are the fields of the code, its examples are configs that work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from actiond import ProcessorInvalid
from actiond.host import discovery
from actiond_processors.command import CommandConfig
from actiond_processors.config import Config
from actiond_processors.email import EmailConfig
from actiond_processors.http import HttpConfig
from actiond_processors.publish import PublishConfig
from house.source import ROOT

PAGE = (ROOT / "docs" / "built-in.md").read_text()
MODELS: dict[str, type[Config]] = {
    "command": CommandConfig,
    "email": EmailConfig,
    "http": HttpConfig,
    "publish": PublishConfig,
}


def table(model: type[Config]) -> list[str]:
    """As it stands in the page."""
    lines = ["| field | default | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "needed" if default is PydanticUndefined else f"`{json.dumps(_in_words(default, name))}`"
        lines.append(f"| `{field.alias or name}` | {shown} | {field.description} |")
    return lines


def _in_words(default: Any, name: str) -> Any:
    durations = name in ("timeout", "retry_after_max")
    return f"{default:g} s" if durations else default


def section(name: str) -> str:
    """What the page says of one of them."""
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def examples(name: str) -> list[tuple[str, dict[str, Any]]]:
    """(built-in, config) of each row that a section inserts."""
    made = re.findall(r"values \('[\w]+', '(\w+)', '(\{.*?\})'\);", section(name), re.DOTALL)
    return [(uses, json.loads(config)) for uses, config in made]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_table_has_every_field_as_it_is(name: str) -> None:
    said = [line for line in section(name).splitlines() if line.startswith("|")]
    wanted = table(MODELS[name])
    assert [line for line in wanted if line not in said] == []
    known = {line.split("|")[1] for line in wanted}
    fields = section(name).partition("| field | default")[2].partition("\n\n")[0]
    assert {line.split("|")[1] for line in fields.splitlines()[2:]} <= known


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_field_says_what_it_is(name: str) -> None:
    assert [each for each, field in MODELS[name].model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_examples_are_configs_that_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in re.findall(r'"secret": "(\w+)"', section(name)):
        monkeypatch.setenv(f"ACTIOND_SECRET_{secret.upper()}", "value")
    found = examples(name)
    assert name in [uses for uses, _ in found]
    for uses, config in found:
        if config.get("argv", [""])[0].startswith("/srv/"):
            config["argv"][0] = "/bin/sh"  # what stands on that host
        discovery.built_ins()[uses]("example", config)


def test_the_page_has_all_of_them() -> None:
    assert set(discovery.built_ins()) - {"sql_function"} == set(MODELS)


def test_a_wrong_example_would_be_found() -> None:
    with pytest.raises(ProcessorInvalid):
        discovery.built_ins()["http"]("example", {"url": "http://h/", "no": 1})
