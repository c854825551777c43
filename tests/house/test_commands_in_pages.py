"""Commands that the manual shows are commands, with options that they have. Nothing is run."""

from __future__ import annotations

import shlex

import click
import pytest

from actiond.cli.main import cli
from house.test_docs import PAGES, written_in

#: Where the words of one command end.
ENDS = {"|", "||", "<", ">", ">>", "&&", ";", ")", "&"}


def asked(text: str) -> list[list[str]]:
    """The words after `actiond`, for each time that it is called in a block."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.replace('"$(', "( ").replace(')"', " )"), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for place, word in enumerate(words):
            if word.rpartition("/")[2] == "actiond" and (
                place == 0 or "=" in words[place - 1] or words[place - 1] == "("
            ):
                rest = words[place + 1 :]
                found.append(rest[: next((end for end, each in enumerate(rest) if each in ENDS), len(rest))])
    return found


def understood(words: list[str]) -> None:
    """Raises UsageError for what no command would take."""
    command: click.Command = cli
    context: click.Context | None = None
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command, parent=context, info_name=words[0])
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    if not isinstance(command, click.Group):
        command.make_context(command.name, list(words), parent=context)


def test_commands_in_the_manual_are_commands() -> None:
    wrong = []
    for block in written_in("sh"):
        for words in asked(block.text):
            try:
                understood(words)
            except click.UsageError as refused:
                wrong.append(f"{block}: actiond {shlex.join(words)}: {refused.format_message()}")
    assert wrong == []


def test_they_are_found() -> None:
    text = 'export A="$(actiond dev --show-dsn | sed x)"\nA=1 /opt/bin/actiond ls > x  # all\npip install actiond\n'
    assert asked(text) == [["dev", "--show-dsn"], ["ls"]]
    assert len(PAGES) > 10
    assert sum(len(asked(block.text)) for block in written_in("sh")) > 50


@pytest.mark.parametrize("words", [["lst"], ["ls", "--about", "x"], ["show", "--json"], ["new", "page"]], ids=" ".join)
def test_what_is_no_command_is_found(words: list[str]) -> None:
    understood(["ls", "--related", "x"])
    with pytest.raises(click.UsageError):
        understood(words)
