"""rules/redaction: secrets in the shapes they have in errors and logs; ordinary text stays as it is.

No secret here is one: all were made up for this file, and none is written as one piece.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.redaction import HIDDEN, redact

#: Made of two parts, so that tools that look for secrets in files do not find these.
AWS_ID = "AKIA" + "Q3EGRANDNVMZ5TL2"
AWS_SECRET = "wJalrXUtnFEMI" + "/K7MDENG+bPxRfiCYzzzzKEY"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
GITHUB_FINE = "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz"
GITLAB = "glpat-" + "Xy12Zw34Ab56Cd78Ef90"
STRIPE = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
STRIPE_TEST = "rk_test_" + "51Hx93kLmnOpQrStUvWx"
SLACK = "xoxb-" + "123456789012-abcdefABCDEF"
OPENAI = "sk-proj-" + "abcDEF123456ghiJKL789mno"
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjMifQ.SflKxwRJSMeKKF2QT4fwpMeJ"
PEM = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEpAIBAAKCAQEA7v\nq9Xw==\n-----END RSA PRIVATE KEY-----"
WORD = "hunter22" + "swordfish"

#: shape -> (text, what must not be left of it)
SECRETS: dict[str, list[tuple[str, str]]] = {
    "password in a URL": [
        (f"postgresql://app:{WORD}@db.example.org:5432/orders", WORD),
        (f"could not connect: amqp://guest:{WORD}@mq/%2F: refused", WORD),
        (f"https://user:{WORD}@example.org/path?x=1", WORD),
        (f"redis://:{WORD}@cache:6379/0", WORD),
        (f"mongodb+srv://app:{WORD}@cluster0.example.net/test", WORD),
        ("postgresql://app:p@ss" + WORD + "@db/orders", WORD),
    ],
    "bearer token": [
        (f"Authorization: Bearer {WORD}12345678", WORD),
        (f"{{'authorization': 'Bearer {WORD}'}}", WORD),
        (f"sent header (b'authorization', b'Bearer {WORD}')", WORD),
    ],
    "other authorization": [
        ("Authorization: Basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg"),
        ("proxy-authorization: basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg"),
        (f"Authorization: Token {WORD}", WORD),
        (f"Authorization: ApiKey {WORD}", WORD),
    ],
    "JSON web token": [(f"cannot verify {JWT}", JWT.split(".")[2]), (f"id_token={JWT}&x=1", JWT.split(".")[2])],
    "AWS": [
        (f"InvalidAccessKeyId: {AWS_ID} does not exist", AWS_ID),
        (f"aws_secret_access_key = {AWS_SECRET}", AWS_SECRET),
        (f"AWS_SECRET_ACCESS_KEY={AWS_SECRET}", AWS_SECRET),
    ],
    "key of a well-known service": [
        (f"401 for {GITHUB}", GITHUB),
        (f"remote: {GITHUB_FINE} is invalid", GITHUB_FINE),
        (f"https://oauth2:{GITLAB}@gitlab.example.org/x.git and {GITLAB}", GITLAB),
        (f"No such key: {STRIPE}", STRIPE),
        (f"({STRIPE_TEST})", STRIPE_TEST),
        (f"invalid_auth {SLACK}", SLACK),
        (f"Incorrect API key provided: {OPENAI}.", OPENAI),
    ],
    "private key": [(PEM, "MIIEpAIBAAKCAQEA7v"), (f"key was\n{PEM[:60]}", "MIIEp"), (f"x {PEM} y {PEM}", "q9Xw")],
    "environment": [
        (f"PGPASSWORD={WORD} psql", WORD),
        (f"export API_KEY='{WORD}'", WORD),
        (f"SECRET_KEY={WORD}", WORD),
        (f"DATABASE_PASSWORD = {WORD}", WORD),
    ],
    "JSON": [
        (f'{{"user": "app", "password": "{WORD}", "port": 1}}', WORD),
        (f'{{"client_secret":"{WORD}"}}', WORD),
        (f'{{"accessToken": "{WORD}"}}', WORD),
        (f'{{"api-key": "a\\"{WORD}"}}', WORD),
        (f'"{{\\"password\\": \\"{WORD}\\"}}"', WORD),
    ],
    "Python": [
        (f"connect(user='app', password='{WORD}')", WORD),
        (f"{{'token': '{WORD}'}}", WORD),
        (f"Settings(secret={WORD!r}, x=1)", WORD),
        (f"kwargs={{'passwd': \"{WORD}\"}}", WORD),
    ],
    "query string": [
        (f"GET /v1?token={WORD}&page=2", WORD),
        (f"https://example.org/cb?a=1&access_token={WORD}", WORD),
        (f"https://api.example.org/?api_key={WORD}#top", WORD),
    ],
    "header": [(f"X-Api-Key: {WORD}", WORD), (f"x-auth-token: {WORD}\r\nhost: a", WORD), (f"apikey: {WORD}", WORD)],
    "configuration": [
        (f"password: {WORD}\nuser: app", WORD),
        (f"host=db user=app password={WORD} dbname=orders", WORD),
        (f"host=db password='{WORD} {WORD}' dbname=orders", WORD),
        (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={WORD}==;", WORD),
    ],
}
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


def test_every_one_of_many_secrets_is_hidden() -> None:
    shown = redact(" and ".join(text for _, text, _ in CORPUS if "PRIVATE" not in text))
    assert [secret for _, text, secret in CORPUS if secret in shown and "PRIVATE" not in text] == []


PIECES = st.sampled_from(
    [HIDDEN, "password", "=", ":", " ", '"', "'", "\\", "bearer ", "basic ", "://", "@", "/", "token", "eyJ", ".", "a1",
     "-", "_", "\n", "sk_live_", "-----BEGIN PRIVATE KEY-----", "Authorization", "secret", ",", "}", "aaaaaaaaaaaa"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_hiding_twice_changes_nothing_in_whatever_text(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(st.characters(exclude_characters=":=@"), max_size=100))
def test_text_without_any_mark_of_a_secret_is_untouched(text: str) -> None:
    if not any(hint in text.lower() for hint in ("begin", "bearer", "basic", "eyj", "akia", "asia", "gh", "k_", "xox")):
        assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["a" * 8000 + "://", "a-" * 4000 + " token", "eyJ-" * 2000, "password=" * 900, '"' * 8000 + "password=",
     "-----BEGIN PRIVATE KEY-----" * 300, "bearer " * 1100, "://a:" * 1600, "token " * 1300, "password='" + "\\" * 8000,
     "gh" * 4000 + "p_", "token" + " " * 8000 + "x", "AKIA" * 2000, "xoxb-" * 1600],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    """8 KB: what is kept of an error. A handler that quotes its input must not be able to stop the daemon."""
    began_s = time.perf_counter()
    redact(text)
    assert time.perf_counter() - began_s < 0.1
