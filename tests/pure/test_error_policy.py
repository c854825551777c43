"""rules/error_policy: the nearest class decides, groups are judged by what is in them, nonsense is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actiond.rules.error_policy import PLAIN, ErrorPolicy
from actiond.words.outcome import ALLOW_RETRY, SUDDEN_DEATH, Failure


class Mine(ValueError, OSError):
    pass


class HerFailure(Failure):
    pass


class HerGroup(ExceptionGroup[Exception]):
    pass


DIES, RETRIES = SUDDEN_DEATH, ALLOW_RETRY


@pytest.mark.parametrize(
    ("dead_on", "retry_on", "error", "behavior"),
    [
        ((), (), ValueError(), RETRIES),
        ((), (), SystemExit(), RETRIES),
        # dead_on alone: the others are retried
        ((ValueError,), (), ValueError(), DIES),
        ((ValueError,), (), UnicodeError(), DIES),
        ((ValueError,), (), Exception(), RETRIES),
        ((ValueError,), (), KeyError(), RETRIES),
        ((BaseException,), (), SystemExit(), DIES),
        # retry_on alone: the others die
        ((), (OSError,), OSError(), RETRIES),
        ((), (OSError,), ConnectionError(), RETRIES),
        ((), (OSError,), KeyError(), DIES),
        ((), (OSError,), asyncio.CancelledError(), DIES),
        # both: the nearest class, and still the others die
        ((FileNotFoundError,), (OSError,), FileNotFoundError(), DIES),
        ((FileNotFoundError,), (OSError,), PermissionError(), RETRIES),
        ((FileNotFoundError,), (OSError,), KeyError(), DIES),
        ((LookupError,), (KeyError, Exception), KeyError(), RETRIES),
        ((LookupError,), (KeyError, Exception), IndexError(), DIES),
        ((LookupError,), (KeyError, Exception), TypeError(), RETRIES),
        # several bases: in the order Python looks them up
        ((ValueError,), (OSError,), Mine(), DIES),
        ((OSError,), (ValueError,), Mine(), RETRIES),
        # a group
        ((ValueError,), (), ExceptionGroup("two", [ValueError(), UnicodeError()]), DIES),
        ((ValueError,), (), ExceptionGroup("two", [ValueError(), KeyError()]), RETRIES),
        ((ValueError,), (), ExceptionGroup("in", [ExceptionGroup("out", [ValueError()])]), DIES),
        ((ValueError,), (), ExceptionGroup("in", [ValueError(), ExceptionGroup("out", [KeyError()])]), RETRIES),
        ((), (OSError,), ExceptionGroup("two", [OSError(), KeyError()]), RETRIES),
        # what is no exception
        ((Exception,), (), "a text", RETRIES),
        ((), (OSError,), None, RETRIES),
    ],
    ids=repr,
)
def test_the_nearest_class_decides(dead_on: Any, retry_on: Any, error: Any, behavior: Any) -> None:
    assert ErrorPolicy.of(dead_on, retry_on).behavior(error) is behavior


def test_one_class_need_not_stand_in_a_tuple() -> None:
    assert ErrorPolicy.of(ValueError, [OSError]) == ErrorPolicy.of((ValueError,), {OSError})
    assert ErrorPolicy.of((), ()) == PLAIN


@pytest.mark.parametrize(
    ("dead_on", "retry_on", "said"),
    [
        ((ValueError, KeyError), (OSError, KeyError), "KeyError cannot be in dead_on and in retry_on"),
        ("ValueError", (), "dead_on: exception classes, not 'ValueError'"),
        (("ValueError",), (), "dead_on: exception classes, not 'ValueError'"),
        ((), (ValueError(),), "retry_on: exception classes, not ValueError()"),
        ((), (int,), "retry_on: exception classes, not <class 'int'>"),
        (None, (), "dead_on: exception classes, not None"),
        ((Failure,), (), "dead_on: a Failure says itself what it costs"),
        ((), (HerFailure,), "retry_on: a HerFailure says itself what it costs"),
        ((ExceptionGroup,), (), "dead_on: a group is judged by what is in it, so ExceptionGroup says nothing here"),
        ((), (HerGroup,), "retry_on: a group is judged by what is in it, so HerGroup says nothing here"),
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused(dead_on: Any, retry_on: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        ErrorPolicy.of(dead_on, retry_on)
    assert str(refused.value) == said
