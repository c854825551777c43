"""rules/redaction: secrets in the shapes they have in errors and logs; ordinary text stays as it is.

The secrets are those of support/corpus.
"""

from __future__ import annotations

import contextvars
import json
from collections.abc import Iterator
from re import _constants as kinds  # the only way to read a pattern
from re import _parser as patterns
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules import redaction
from actiond.rules.redaction import HIDDEN, redact
from support.corpus import PEM, SECRETS, WORD

CORPUS = [(shape, text, secret) for shape, pairs in SECRETS.items() for text, secret in pairs]

ORDINARY = [
    "",
    'duplicate key value violates unique constraint "orders_pkey": Key (id)=(5) already exists.',
    'password authentication failed for user "app"',
    "the token has expired",
    "Unexpected token < in JSON at position 0",
    "a secret must not be empty",
    "KeyError: 'key'",
    "the foreign key is missing",
    "https://example.org/path?page=2#top",
    "postgresql://db.example.org:5432/orders",
    "postgresql://app@db.example.org/orders",
    "http://localhost:8000/users/@me",
    '{"url":"http://localhost:8000","mail":"app@example.org"}',
    "mailto:app@example.org",
    "12:30:01 connection to db:5432 refused",
    "max_tokens=4096, tokens: 12, tokenizer: bert",
    "C:\\temp\\x and s3://bucket/key",
    "a basic requirement is missing",
    "Basic authentication is not supported",
    "a bearer of news",
    "skip-live-tests, task-1234567890, risk_live_data",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "passed: 12, compass: north, bypass=yes",
    "é 漢 😀",
]


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 30
    assert len(SECRETS) >= 12


@pytest.mark.parametrize(
    ("shape", "text", "secret"), CORPUS, ids=[f"{shape}-{text[:30]!a}" for shape, text, _ in CORPUS]
)
def test_a_secret_is_hidden_and_what_it_was_is_still_seen(shape: str, text: str, secret: str) -> None:
    shown = redact(text)
    assert secret in text
    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("shape", "text", "secret"), CORPUS, ids=[f"{shape}-{text[:30]!a}" for shape, text, _ in CORPUS]
)
def test_hiding_twice_changes_nothing(shape: str, text: str, secret: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("text", ORDINARY, ids=ascii)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert (
        redact(f"at postgresql://app:{WORD}@db/orders: refused") == f"at postgresql://app:{HIDDEN}@db/orders: refused"
    )
    assert redact(f"a=1, password={WORD}, b=2") == f"a=1, password={HIDDEN}, b=2"
    assert redact(f'{{"a": 1, "token": "{WORD}", "b": 2}}') == f'{{"a": 1, "token": {HIDDEN}, "b": 2}}'
    assert redact(f"?token={WORD}&page=2") == f"?token={HIDDEN}&page=2"
    assert redact(f"before\n{PEM}\nafter") == f"before\n{HIDDEN}\nafter"


@pytest.mark.parametrize(("text", "secret"), [(text, secret) for _, text, secret in CORPUS if secret == WORD])
def test_a_secret_that_would_be_cut_open_is_hidden_all_the_same(text: str, secret: str) -> None:
    for at in range(len(text)):
        head, tail = redact(text, 0, at), redact(text, at)
        assert all(part not in head + "|" + tail for part in (secret[:4], secret[-4:]))
        assert redact(text, at, at) in ("", HIDDEN)


def test_a_part_is_shown_as_it_is_shown_in_the_whole() -> None:
    text = f"before password={WORD} after"
    assert redact(text, 7, 16) == "password="
    assert redact(text, 20) == f"{HIDDEN} after"
    assert redact(text, len(text) - 5) == "after"


def test_every_one_of_many_secrets_is_hidden() -> None:
    shown = redact(" and ".join(text for _, text, _ in CORPUS if "PRIVATE" not in text))
    assert [secret for _, text, secret in CORPUS if secret in shown and "PRIVATE" not in text] == []


PIECES = st.sampled_from(
    [HIDDEN, "password", "=", ":", " ", '"', "'", "\\", "bearer ", "basic ", "://", "@", "/", "token", "eyJ", ".", "a1",
     "-", "_", "\n", "]", "(", "1@", "sk_live_", "-----BEGIN PRIVATE KEY-----", "Authorization", "secret", ",", "}",
     "aaaaaaaaaaaa"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_hiding_twice_changes_nothing_in_whatever_text(text: str) -> None:
    assert redact(redact(text)) == redact(text)


HINTS = ("begin", "bearer", "basic", "eyj", "akia", "asia", "gh", "glpat-", "k_", "sk-", "xox")


@given(st.text(st.characters(exclude_characters=":=@"), max_size=100))
def test_text_without_any_mark_of_a_secret_is_untouched(text: str) -> None:
    if not any(hint in text.lower() for hint in HINTS):
        assert redact(text) == text


# A handler that quotes its input must not be able to stop the daemon.

SLOW = [
    "a://", "a- token", "eyJ-", "eyJaaaaaaaa.", "password=", '"password=', "-----BEGIN PRIVATE KEY-----", "-----BEGIN ",
    "bearer ", "://a:", "://a:b/", "://a@", "token ", "token=[", "token=\\'", "token=a,", "token=)", "gh", "ghp_",
    "AKIA", "xoxb-", "sk-a", "authorization: a ", "Authorization", "basic aaaaaaa ",
]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=ascii)
def test_a_text_made_to_be_slow_comes_out(text: str) -> None:
    """That it does so soon is shown below, by what the shapes are made of."""
    for made in (text * (20_000 // len(text)), text + "a" * 20_000, text + " " * 20_000, text + "\\" * 20_000):
        shown = redact(made)
        assert len(shown) <= 3 * len(made)
        assert redact(shown) == shown


def inside(value: Any) -> list[Any]:
    """The patterns within a part of a pattern."""
    if hasattr(value, "getwidth"):
        return [value]
    return [each for part in value for each in inside(part)] if isinstance(value, tuple | list) else []


def repeats(parsed: Any) -> list[tuple[Any, int, bool]]:
    """(kind, most, may something after it still fail) of every repeat in a pattern."""
    found: list[tuple[Any, int, bool]] = []
    may_fail = False
    for kind, value in reversed(list(parsed)):
        found += [(k, most, fails or may_fail) for part in inside(value) for k, most, fails in repeats(part)]
        if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT):
            found.append((kind, int(value[1]), may_fail))
            may_fail = may_fail or value[0] > 0
        else:
            may_fail = True
    return found


def is_quick(pattern: str) -> bool:
    """Bounded, or the last thing and never given back: so no two attempts go through the same text."""
    return all(
        most <= 256 or (kind is kinds.POSSESSIVE_REPEAT and (most <= 8000 or not may_fail))
        for kind, most, may_fail in repeats(patterns.parse(pattern))
    )


@pytest.mark.parametrize("shape", redaction._SHAPES, ids=lambda shape: shape.hints[0])
def test_every_shape_takes_time_in_proportion_to_the_text(shape: Any) -> None:
    assert is_quick(shape.pattern.pattern)


def test_so_does_that_of_named_fields() -> None:
    assert is_quick(redaction._named(frozenset({"card", "a(b)*"})).pattern)


def test_what_is_quick_is_known() -> None:
    for quick in ("a{0,256}b", "a*+", "a++(?:b)?", "(?:a|b*+)", "x(?P<n>(?:a|b)*+c?)", "a{1,8000}+b"):
        assert is_quick(quick), quick
    for slow in ("a*", "a+b", "a*+b", "a*?b", r"[\w-]*x", "(?:a*+b)c", "(?:a|b*+)c", "a{0,300}", "a{1,9000}+b", "a*+$",
                 "a*+(?=b)", "a*+b?c"):  # fmt: skip
        assert not is_quick(slow), slow


# Fields of payloads that are not to be shown.

CARD = "4111 1111 1111 1111"


@pytest.fixture
def _hiding() -> Iterator[None]:
    """A payload with two of these fields, at work."""
    payload = {
        "amount": 1250,
        "card": CARD,
        "pin": 123,
        "who": {"Card": {"holder": "Ada Lovelace", "seen": True, "no": 99887766}, "name": "Ada"},
        "all": [{"pin": 98765}, {"card": 'say "hi"\n'}],
    }
    redaction.hide(("card", "pin"), lambda: [json.dumps({"card": "4000 0000"}), json.dumps(payload)])
    yield
    redaction.hide((), list)


@pytest.mark.usefixtures("_hiding")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no bank knows {CARD}!", f"no bank knows {HIDDEN}!"),
        (f"x{CARD}y", f"x{HIDDEN}y"),
        ("4000 0000 of another row", f"{HIDDEN} of another row"),
        ("it is Ada Lovelace, and Ada", f"it is {HIDDEN}, and Ada"),
        ("99887766 and 98765", f"{HIDDEN} and {HIDDEN}"),
        (r'{"card": "say \"hi\"\n"}', f'{{"card": {HIDDEN}}}'),
        (repr('say "hi"\n'), f"'{HIDDEN}'"),
        ("pin=123 and 123", f"pin={HIDDEN} and 123"),
        ("Charge(card='1', pin=7)", f"Charge(card={HIDDEN}, pin={HIDDEN})"),
        ("{'CARD': {'a': 1}}", f"{{'CARD': {HIDDEN}}}"),
        (f"cut at the end: {CARD[:11]}", f"cut at the end: {HIDDEN}"),
    ],
)
def test_what_a_field_holds_is_hidden_wherever_it_stands(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(redact(text)) == shown


@pytest.mark.usefixtures("_hiding")
@pytest.mark.parametrize(
    "text",
    [
        "card: Field required",
        "pin: Input should be a valid integer",
        "the card is declined, the pin wrong",
        "1250 paid, True, 411",
        "discard=1, pinned: 'x', spin='2'",
        "wildcard: 'a'",
    ],
)
def test_what_it_does_not_hold_is_seen(text: str) -> None:
    assert redact(text) == text


@pytest.mark.usefixtures("_hiding")
def test_a_field_of_a_log_line_is_not_shown_whatever_it_is() -> None:
    assert redaction.names_a_field("card")
    assert redaction.names_a_field("PIN")
    assert not redaction.names_a_field("cards")


def test_nothing_is_hidden_before_and_after() -> None:
    assert redact(f"card={CARD}") == f"card={CARD}"
    assert not redaction.names_a_field("card")


def test_another_task_knows_nothing_of_it() -> None:
    alone = contextvars.copy_context()
    alone.run(lambda: redaction.hide(("card",), lambda: [json.dumps({"card": CARD})]))
    assert alone.run(lambda: redact(CARD)) == HIDDEN
    assert redact(CARD) == CARD


def test_payloads_are_read_when_something_is_to_be_shown_and_once() -> None:
    asked = []

    def payloads() -> list[str]:
        asked.append(1)
        return [json.dumps({"card": CARD}), "no JSON", "[" * 100_000 + "]" * 100_000]

    context = contextvars.copy_context()
    context.run(lambda: redaction.hide(("card",), payloads))
    assert asked == []
    assert context.run(lambda: (redact(CARD), redact(CARD))) == (HIDDEN, HIDDEN)
    assert asked == [1]


def test_many_values_cost_no_more_than_a_few() -> None:
    values = [f"{place:08}-value" for place in range(20_000)]
    context = contextvars.copy_context()
    context.run(lambda: redaction.hide(("card",), lambda: [json.dumps({"card": values})]))
    text = " ".join(values[:500])
    assert context.run(lambda: redact(text)) == " ".join([HIDDEN] * 500)


def test_a_value_that_is_a_part_of_the_sign_itself_does_not_nest() -> None:
    context = contextvars.copy_context()
    context.run(lambda: redaction.hide(("card",), lambda: [json.dumps({"card": ["hidden", CARD]})]))
    assert context.run(lambda: redact(redact(f"x {CARD}"))) == f"x {HIDDEN}"
