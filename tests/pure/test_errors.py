"""words/errors: three families, and messages that begin with what the error is."""

from __future__ import annotations

import inspect

import pytest

from actiond.words import errors
from actiond.words.errors import (
    ActiondError,
    AuthorError,
    BatchClosed,
    ClaimError,
    DatabaseUnreachable,
    OperatorError,
    SettingInvalid,
)

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ActiondError)]
FAMILIES = (AuthorError, OperatorError, ClaimError)


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_an_error_belongs_to_one_family_and_says_in_one_sentence_what_it_is(error: type[ActiondError]) -> None:
    assert error is ActiondError or sum(issubclass(error, family) for family in FAMILIES) == 1
    assert "__doc__" in vars(error)
    sentence = (error.__doc__ or "").strip()
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_a_message_can_always_be_had(error: type[ActiondError]) -> None:
    assert "details" in str(error("details"))
    assert "a b" in str(error("a", "b"))
    assert isinstance(str(error()), str)


def test_the_docstring_begins_the_message_of_an_author() -> None:
    assert str(BatchClosed("action 5")) == ("The handler has ended; its actions can no longer be marked: action 5")
    assert str(BatchClosed()) == "The handler has ended; its actions can no longer be marked"


def test_an_operator_reads_only_what_to_do() -> None:
    assert str(SettingInvalid("ACTIOND_DSN: a DSN begins with postgresql://")).startswith("ACTIOND_DSN")


def test_an_error_that_somebody_derives_without_a_docstring_has_a_message_all_the_same() -> None:
    class Mine(AuthorError):
        pass

    class MineToo(ValueError, AuthorError):
        pass

    class Blank(AuthorError):
        """ """

    assert str(Mine("details")) == str(MineToo("details")) == "The code of a processor is wrong: details"
    assert "details" in str(Blank("details"))


def test_a_message_can_be_had_when_python_strips_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in ALL:
        monkeypatch.setattr(error, "__doc__", None)  # python -OO
    assert str(BatchClosed("action 5")) == "BatchClosed: action 5"
    assert str(BatchClosed()) == "BatchClosed"


def test_exit_codes_tell_what_kind_of_trouble_it_is() -> None:
    assert OperatorError.exit_code == 1
    assert SettingInvalid.exit_code == 2
    assert DatabaseUnreachable.exit_code == 3
    assert {each.exit_code for each in ALL if issubclass(each, OperatorError)} == {1, 2, 3, 4}
