"""The built-in `http` against a real server on this machine that answers well, badly, late and not at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from actiond import ProcessorInvalid
from actiond.testing import EndedAction, run_batch
from actiond_processors import http
from actiond_processors.http_call import close_client
from support.web import Web, endless, no_http, reply, reset_in_the_body, slow, web_server


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close_client()


async def send(config: dict[str, Any], *payloads: Any) -> list[EndedAction]:
    return await run_batch(http.make("p", config), payloads or ({},))


async def test_a_row_is_sent_and_its_answer_is_the_result(web: Web) -> None:
    url = web.say("/orders", reply(201, b'{"id": 12}', content_type="application/json"))
    (ended,) = await send({"url": url, "headers": {"X-Shop": "1"}}, {"order": 7, "price": 12.5})
    assert ended.kind == "completed"
    assert ended.result == {"status": 201, "body": {"id": 12}}
    (seen,) = web.seen
    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/orders", {"order": 7, "price": 12.5})
    assert seen.headers["idempotency-key"] == "actiond-1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-shop"] == "1"


async def test_what_is_sent_and_what_is_kept_can_be_chosen(web: Web) -> None:
    url = web.say("/a", reply(200, b"long text"))
    config = {"url": url, "send": "action", "keep": "status", "idempotency_header": None, "method": "PUT"}
    (ended,) = await send(config, [1])
    assert ended.result == {"status": 200}
    assert json.loads(web.seen[0].body)["idempotency_key"] == "actiond-1"
    assert "idempotency-key" not in web.seen[0].headers
    (ended,) = await send({"url": url, "method": "GET"}, {"a": 1})
    assert ended.result == {"status": 200, "body": "long text"}
    assert (web.seen[1].method, web.seen[1].body) == ("GET", b"")


async def test_values_in_the_url_are_encoded_and_never_lead_elsewhere(web: Web) -> None:
    web.say("/o/a%2Fb%20%3Fc%23/x", reply(200))
    values = [{"id": v, "q": "1&admin=1"} for v in ("a/b ?c#", "", "..", "x/../../admin", "..\\admin", None, {}, [1])]
    ended = await send({"url": web.url("/o/${data.id}/x?q=${data.q}&n=${id}")}, *values, {"q": 1})
    assert [each.kind for each in ended] == ["completed"] + ["failed"] * 8
    assert [request.path for request in web.seen] == ["/o/a%2Fb%20%3Fc%23/x?q=1%26admin%3D1&n=1"]
    assert "another one" in str(ended[2].error)
    assert "null" in str(ended[5].error)
    assert "there is no data.id" in str(ended[8].error)


async def test_two_values_together_do_not_lead_elsewhere(web: Web) -> None:
    (ended,) = await send({"url": web.url("/o/.${data.dot}/x")}, {"dot": "%2e"})
    assert ended.kind == "failed"  # 404: it is encoded once more
    (ended,) = await send({"url": web.url("/o/.${data.a}x/..${data.b}")}, {"a": "a", "b": "b"})
    assert web.seen[-1].path == "/o/.ax/..b"


@pytest.mark.parametrize(
    ("status", "kind"),
    [*((s, "failed") for s in (304, 400, 404)), *((s, "retried") for s in (408, 429, 500, 503))],
)
async def test_a_status_decides_what_becomes_of_the_row(web: Web, status: int, kind: str) -> None:
    url = web.say("/a", reply(status, b"because" if status != 304 else b""))
    (ended,) = await send({"url": url})
    assert ended.kind == kind
    assert str(ended.error).startswith(f"{status} ")
    assert "because" in str(ended.error) or status == 304


async def test_statuses_can_be_chosen(web: Web) -> None:
    config = {"url": web.url("/${data}"), "ok": [200, 404], "retry": [401], "final": [501]}
    for status in (404, 401, 501, 201):
        web.say(f"/{status}", reply(status))
    assert [each.kind for each in await send(config, 404, 401, 501, 201)] == [
        "completed",
        "retried",
        "failed",
        "failed",
    ]


async def test_it_is_tried_again_after_500_with_the_same_key(web: Web) -> None:
    url = web.say("/a", reply(500), reply(200))
    assert [(await send({"url": url}))[0].kind for _ in range(2)] == ["retried", "completed"]
    assert len({request.headers["idempotency-key"] for request in web.seen}) == 1


async def test_retry_after_is_honoured_in_seconds_and_as_a_date_by_the_servers_own_clock(web: Web) -> None:
    long_ago = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    dates = {"retry_after": format_datetime(long_ago + timedelta(seconds=90), usegmt=True)}
    url = web.say("/a", reply(429, retry_after="7"))
    (ended,) = await send({"url": url})
    assert (ended.kind, ended.retry_in_s, ended.retries_left) == ("retried", 7.0, None)  # KEEP_ALIVE: not charged
    assert http.retry_after_s({"retry-after": dates["retry_after"], "date": format_datetime(long_ago)}) == 90.0
    url = web.say("/b", reply(503, retry_after="Fri, 31 Dec 2049 23:59:59 GMT"))
    (ended,) = await send({"url": url, "retry_after_max": "2 min"})
    assert (ended.kind, ended.retry_in_s, ended.retries_left) == ("retried", 120.0, None)
    url = web.say("/c", reply(500, retry_after="9"))
    (ended,) = await send({"url": url})
    assert (ended.retry_in_s, ended.retries_left) == (9.0, 2)  # an error of the server itself is charged


@pytest.mark.parametrize("text", ["soon", "-5", "", "1e3", "Fri, 99 Dec 2049", "²"])
def test_a_retry_after_that_is_none_is_ignored(text: str) -> None:
    assert http.retry_after_s({"retry-after": text, "date": "Fri, 31 Dec 2049 23:59:59 GMT"}) is None


async def test_no_answer_in_time_is_tried_again(web: Web) -> None:
    ended = await send({"url": web.say("/a", slow(web)), "timeout": "0.2 s"}, 1)
    assert [(each.kind, each.error, each.retries_left) for each in ended] == [("retried", "no answer within 0.2 s", 2)]


@pytest.mark.parametrize("fault", [reset_in_the_body, no_http], ids=["reset", "garbage"])
async def test_a_broken_answer_is_tried_again(web: Web, fault: Any) -> None:
    url = web.say("/a", fault, reply(200))
    ended = [(await send({"url": url}))[0] for _ in range(2)]
    assert [each.kind for each in ended] == ["retried", "completed"]
    assert ended[0].retries_left == 2


async def test_a_server_that_is_not_there_charges_nobody() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        (ended,) = await send({"url": f"http://127.0.0.1:{nobody.getsockname()[1]}/"})
    assert (ended.kind, ended.retries_left) == ("retried", None)
    assert "cannot be reached" in str(ended.error)


async def test_an_endless_answer_is_read_to_its_bound(web: Web) -> None:
    (ended,) = await send({"url": web.say("/a", endless), "answer_max": 1000})
    assert ended.result == {"status": 200, "body": "x" * 1000, "truncated": True}


async def test_a_compressed_answer_is_not_inflated(web: Web) -> None:
    (ended,) = await send({"url": web.say("/a", reply(200, b"\x1f\x8b", content_encoding="gzip"))})
    assert (ended.kind, web.seen[0].headers["accept-encoding"]) == ("retried", "identity")


async def test_an_answer_that_postgres_cannot_store_is_stored_all_the_same(web: Web) -> None:
    body = b'{"a\\u0000": "\\ud800", "n": 1e999}'
    (ended,) = await send({"url": web.say("/a", reply(200, body))})
    assert ended.result == {"status": 200, "body": {"a\ufffd": "\ufffd", "n": "inf"}}
    (ended,) = await send({"url": web.say("/b", reply(200, b"\xff\x00", content_type="text/plain; charset=none"))})
    assert ended.result == {"status": 200, "body": "\ufffd\ufffd"}


async def test_redirects_are_followed_on_the_same_host_only(web: Web) -> None:
    web.say("/end", reply(200, b"there"))
    web.say("/other", reply(307, location=f"http://localhost:{web.port}/end"))
    web.say("/same", reply(307, location="/end"))
    web.say("/found", reply(302, location="/end"))
    web.say("/circle", reply(308, location="/circle"))
    ended = await send({"url": web.url("/${data}")}, "same", "other", "found", "circle")
    assert [each.kind for each in ended] == ["completed", "failed", "failed", "failed"]
    assert "localhost" in str(ended[1].error)
    assert "would not be one there" in str(ended[2].error)
    assert ended[3].error == "more than 3 redirects"
    assert [(r.method, r.path, r.body) for r in web.seen[:2]] == [
        ("POST", "/same", b'"same"'),
        ("POST", "/end", b'"same"'),
    ]
    (ended_get,) = await send({"url": web.url("/found"), "method": "GET"})
    assert ended_get.kind == "completed"


async def test_connections_are_used_again_and_no_cookies_are_kept(web: Web) -> None:
    url = web.say("/a", reply(200, set_cookie="session=1; Path=/"))
    await send({"url": url}, 1, 2)
    await run_batch(http.make("another", {"url": url}), [3])
    assert len({request.connection for request in web.seen}) == 1
    assert [request for request in web.seen if "cookie" in request.headers] == []


async def test_a_body_can_be_signed(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_HOOK", "sesame-key")
    (ended,) = await send({"url": web.say("/a", reply(400, b"not sesame-key")), "sign": {"secret": "hook"}}, {"a": 1})
    (seen,) = web.seen
    signed = seen.headers["actiond-timestamp"].encode() + b"." + seen.body
    assert seen.headers["actiond-signature"] == hmac.new(b"sesame-key", signed, hashlib.sha256).hexdigest()
    assert ended.error == "400 Bad Request: not [hidden]"


async def test_a_secret_that_comes_back_is_not_kept(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_API_TOKEN", 'qu"tz')
    headers = {"Authorization": {"secret": "api-token", "prefix": "Bearer "}}
    url = web.say("/a", reply(200, b'{"you sent": ["qu\\"tz"]}'), reply(200, b'Bearer qu"tz'))
    ended = [(await send({"url": url, "headers": headers}))[0].result["body"] for _ in range(2)]
    assert ended == [{"you sent": ["[hidden]"]}, "Bearer [hidden]"]
    assert web.seen[0].headers["authorization"] == 'Bearer qu"tz'


# A batch in one request.


async def test_a_batch_has_an_outcome_for_each_row(web: Web) -> None:
    answer = [
        {"id": 1, "ok": True, "result": {"n": 1}},
        {"id": 2, "error": "no such account", "behavior": "SUDDEN_DEATH"},
        {"id": 3, "error": "busy", "after": "90 s"},
        {"id": 4, "defer": 60, "state": {"page": 2}},
        {"id": 5, "cancel": "not wanted"},
        {"id": 6, "ok": True, "error": "both"},
        {"id": 7, "error": "x", "behavior": "MAYBE"},
        {"id": 8, "error": "x", "after": "soon"},
        {"id": 99, "ok": True},
        "garbage",
        {"id": 1, "error": "too late"},
    ]
    url = web.say("/batch", reply(200, json.dumps(answer).encode()))
    ended = await send({"url": url, "per": "batch"}, *range(9))
    kinds = ["completed", "failed", "retried", "deferred", "canceled", "retried", "retried", "retried", "retried"]
    assert [each.kind for each in ended] == kinds
    assert (ended[0].result, ended[1].error, ended[2].retry_in_s) == ({"n": 1}, "no such account", 90.0)
    assert (ended[3].retry_in_s, ended[3].state) == (60.0, {"page": 2})
    assert ended[8].error == "the answer does not tell of it"
    (seen,) = web.seen
    assert [item["data"] for item in json.loads(seen.body)] == list(range(9))
    assert json.loads(seen.body)[0]["idempotency_key"] == "actiond-1"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"[NaN]", b"[" * 100_000], ids=["empty", "html", "object", "nan", "deep"]
)
async def test_garbage_for_a_batch_is_tried_again(web: Web, body: bytes) -> None:
    ended = await send({"url": web.say("/a", reply(200, body)), "per": "batch"}, 1, 2)
    assert [each.kind for each in ended] == ["retried", "retried"]


async def test_a_batch_that_is_refused_because_of_one_row_comes_in_halves(web: Web) -> None:
    def judge(handler: Any) -> None:
        items = json.loads(web.seen[-1].body)
        if any(item["data"] == "bad" for item in items):
            return reply(422, b"something is bad")(handler)
        return reply(200, json.dumps([{"id": item["id"], "ok": True} for item in items]).encode())(handler)

    ended = await send({"url": web.say("/a", judge), "per": "batch"}, *range(11), "bad", *range(20))
    assert [place for place, each in enumerate(ended) if each.kind != "completed"] == [11]
    assert (ended[11].kind, ended[11].error) == ("failed", "422 Unprocessable Entity: something is bad")
    assert len(web.seen) == 11  # 1 + 2 log2(32)


async def test_another_refusal_concerns_the_whole_batch(web: Web) -> None:
    ended = await send({"url": web.say("/a", reply(503, retry_after="5")), "per": "batch"}, 1, 2)
    assert [(each.kind, each.retry_in_s) for each in ended] == [("retried", 5.0)] * 2
    assert len(web.seen) == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "url: Field required"),
        ({"url": "ftp://h/"}, "url: a URL begins with http"),
        ({"url": "http://${data.host}/"}, "which no row can change"),
        ({"url": "http://h${data.x}/"}, "which no row can change"),
        ({"url": "http://h:99999/"}, "url: Port out of range"),
        ({"url": "${data.url}"}, "url: a URL begins with http"),
        ({"url": "http://user:pw@h/"}, "no user and password"),
        ({"url": "http://h/${data.__class__}/${os}"}, "is no placeholder"),
        ({"url": "http://h/", "methid": "GET"}, "methid: there is no such field"),
        ({"url": "http://h/", "timeout": "0 s"}, "timeout: from 1 ms"),
        ({"url": "http://h/", "headers": {"A": "b\r\nC: d"}}, "not one line"),
        ({"url": "http://h/", "headers": {"Host": "other"}}, "no header that can be set"),
        ({"url": "http://h/", "headers": {"A": {"secret": "nowhere"}}}, "headers.A: there is no secret 'nowhere'"),
        ({"url": "http://h/", "sign": {"secret": "../dsn"}}, "the name of a secret"),
        ({"url": "http://h/", "sign": {"secret": "dsn"}}, "the daemon's own"),
        ({"url": "http://h/${id}", "per": "batch"}, "one URL for all its rows"),
        ({"url": "http://h/", "per": "batch", "method": "GET"}, "as the body"),
    ],
    ids=range(17),
)
def test_a_wrong_config_names_processor_and_field(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorInvalid) as wrong:
        http.make("mine", config)
    assert "'mine': config " in str(wrong.value)
    assert said in str(wrong.value)
