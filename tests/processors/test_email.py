"""The built-in `email` against a real mail server in its own process, which refuses, delays, hangs up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actiond import ProcessorInvalid
from actiond.testing import EndedAction, run_batch
from actiond_processors import email, letter
from support.mail import Mail, mail_server

LETTER = {"from": "Shop <shop@example.org>", "subject": "Hello ${data.name}", "text": "Dear ${data.name},\n.\nbye\n"}


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mail]:
    with mail_server(tmp_path_factory.mktemp("mail")) as mail:
        yield mail


@pytest.fixture
def mail(one_server: Mail) -> Mail:
    one_server.forget()
    return one_server


def config(mail: Mail, **more: Any) -> dict[str, Any]:
    return {"server": "127.0.0.1", "port": mail.port, "tls": "none", **LETTER, **more}


async def send(mail: Mail, *payloads: Any, **more: Any) -> list[EndedAction]:
    return await run_batch(email.make("p", config(mail, **more)), payloads)


def to(*names: str) -> list[dict[str, Any]]:
    return [{"to": f"{name}@example.org", "name": name} for name in names]


async def test_the_letters_of_a_batch_go_over_one_connection(mail: Mail) -> None:
    ended = await send(mail, *to("ada", "bob", "zoë"), html="<p>${data.name}</p>", hello="host.test")
    assert [each.kind for each in ended] == ["completed", "completed", "failed"]
    assert "letters before the @" in str(ended[2].error)
    assert [(each["session"], each["from"], each["to"], each["hello"]) for each in mail.kept] == [
        (1, "shop@example.org", ["ada@example.org"], "host.test"),
        (1, "shop@example.org", ["bob@example.org"], "host.test"),
    ]
    first = mail.letters[0]
    assert (first["From"], first["To"], first["Subject"]) == (LETTER["from"], "ada@example.org", "Hello ada")
    text, html = first.get_body(("plain",)), first.get_body(("html",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == "Dear ada,\n.\nbye\n"
    assert html is not None
    assert html.get_content().strip() == "<p>ada</p>"
    assert first["Message-ID"] == ended[0].result["message_id"]
    assert ended[0].result["accepted"] == ["ada@example.org"]
    assert first["Date"]


async def test_values_are_values_in_html_and_in_other_alphabets(mail: Mail) -> None:
    payload = {"to": "Zoë 🙂 <zoe@exämple.org>", "name": "<script>Zoë 👩‍💻</script>"}
    (ended,) = await send(mail, payload, text=None, html="<style>p {color: red}</style><p>${data.name}</p>")
    assert ended.kind == "completed"
    (only,) = mail.letters
    assert only["Subject"] == "Hello <script>Zoë 👩‍💻</script>"
    assert "<p>&lt;script&gt;Zoë 👩‍💻&lt;/script&gt;</p>" in only.get_content()
    assert "p {color: red}" in only.get_content()
    assert mail.kept[0]["to"] == ["zoe@xn--exmple-cua.org"]
    assert only["To"].addresses[0].display_name == "Zoë 🙂"


@pytest.mark.parametrize(
    "payload",
    [
        {"to": "a@example.org", "name": "x\r\nBcc: all@example.org"},
        {"to": "a@example.org", "name": "x\nBcc: all@example.org"},
        {"to": "a@example.org\nBcc: all@example.org", "name": "x"},
        {"to": "a@example.org, b@example.org", "name": "x"},
        {"to": "a@example.org> SIZE=1\r\nRCPT TO:<b@example.org", "name": "x"},
        {"to": ["a@example.org", "b"], "name": "x"},
        {"to": ["a@example.org", 5], "name": "x"},
        {"to": [], "name": "x"},
        {"to": "", "name": "x"},
        {"to": "friends: a@example.org;", "name": "x"},
        {"to": "@example.org", "name": "x"},
        {"to": None, "name": "x"},
        {"to": "a@example.org"},
        {"to": [f"a{n}@example.org" for n in range(101)], "name": "x"},
        "text",
    ],
    ids=range(15),
)
async def test_what_cannot_be_a_letter_is_final_and_harms_nobody(mail: Mail, payload: Any) -> None:
    ended = await send(mail, payload, *to("ada"))
    assert [each.kind for each in ended] == ["failed", "completed"]
    assert [each["to"] for each in mail.kept] == [["ada@example.org"]]
    assert "\nBcc" not in mail.kept[0]["text"]


async def test_a_line_break_is_named(mail: Mail) -> None:
    ended = await send(mail, {"to": "a@example.org", "name": "x\ny"}, {"to": "a@example.org\nBcc: b@example.org"})
    assert ended[0].error == "the subject holds a line break or another control character"
    assert ended[1].error == "to holds a line break or another control character"


async def test_refused_for_now_or_for_good(mail: Mail) -> None:
    names = ("greylisted", "unknown", "spam", "full", "ada")
    ended = await send(mail, *to(*names))
    assert [each.kind for each in ended] == ["retried", "failed", "failed", "retried", "completed"]
    assert ended[0].error == "greylisted@example.org: 451 4.7.1 come back later"
    assert ended[1].error == "unknown@example.org: 550 5.1.1 no such user"
    assert "554 5.7.1" in str(ended[2].error)
    assert (ended[0].retries_left, ended[3].retries_left) == (2, 2)
    (ended_again,) = await send(mail, *to("greylisted"))
    assert ended_again.kind == "completed"
    assert len(mail.kept) == 2


async def test_one_letter_to_several(mail: Mail) -> None:
    to_all = {"name": "all", "to": ["Ada <ada@example.org>", "unknown@example.org"], "copy": "cc@example.org"}
    (ended,) = await send(mail, to_all, cc="${data.copy}", bcc=["hidden@example.org"], reply_to="re-${id}@example.org")
    assert ended.kind == "completed"
    assert ended.result["refused"] == {"unknown@example.org": "550 5.1.1 no such user"}
    assert mail.kept[0]["to"] == ["ada@example.org", "cc@example.org", "hidden@example.org"]
    assert "hidden@" not in mail.kept[0]["text"]
    assert mail.letters[0]["Reply-To"] == "re-1@example.org"


async def test_nobody_gets_a_letter_that_somebody_has_to_wait_for(mail: Mail) -> None:
    (ended,) = await send(mail, {"to": ["ada@example.org", "greylisted@example.org"], "name": "x"})
    assert (ended.kind, mail.kept) == ("retried", [])


async def test_a_connection_that_ends_before_a_letter_is_made_anew_once(mail: Mail) -> None:
    ended = await send(mail, *to("ada", "hasty", "tired", "bob"))
    assert [each.kind for each in ended] == ["completed"] * 4
    assert len({each["session"] for each in mail.kept}) == 3
    (first,) = await send(mail, {"to": "hasty@example.net", "name": "x"})
    assert (first.kind, first.retries_left) == ("retried", 2)


async def test_a_letter_without_an_answer_may_have_arrived_and_keeps_its_id(
    mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = iter(f"Fri, 0{day} Dec 2049 23:59:59 GMT" for day in range(1, 9))
    monkeypatch.setattr(letter, "formatdate", lambda: next(dates))
    ended = [*await send(mail, *to("dropped")), *await send(mail, *to("dropped", "ada"), when_unknown="fail")]
    assert [each.kind for each in ended] == ["retried", "failed", "completed"]
    assert "it may have arrived" in str(ended[0].error)
    assert len({each["Message-ID"] for each in mail.letters[:2]}) == 1
    assert len({each["Message-ID"] for each in mail.letters}) == 2


async def test_a_message_id_differs_where_the_letter_differs(mail: Mail) -> None:
    await send(mail, *to("ada"))
    await send(mail, *to("ada"), subject="another")
    ids = [each["Message-ID"] for each in mail.letters]
    assert len(set(ids)) == 2
    assert all(each.startswith("<actiond-1.") and each.endswith("@example.org>") for each in ids)


async def test_a_server_that_is_not_there_charges_nobody() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ended = await send(Mail(nobody.getsockname()[1], Path()), *to("ada", "bob"))
    assert [(each.kind, each.retries_left) for each in ended] == [("retried", None)] * 2
    assert str(ended[0].error).startswith("127.0.0.1:")


async def test_a_sender_that_is_refused_charges_nobody(mail: Mail) -> None:
    ended = await send(mail, *to("ada", "bob"), **{"from": "unwelcome@example.org"})
    assert [(each.kind, each.retries_left) for each in ended] == [("retried", None)] * 2
    assert "550 you may not send here" in str(ended[0].error)


async def test_tls_and_a_password_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "mail_password").write_text("open sesame\n")
    (folder / "wrong").write_text("sesame")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    with mail_server(tmp_path, tls=True) as mail:
        more = {"server": "localhost", "tls": "starttls", "user": "shop"}
        (distrusted,) = await send(mail, *to("ada"), **more, password={"secret": "mail_password"})
        monkeypatch.setenv("SSL_CERT_FILE", str(mail.certificate))
        (ended,) = await send(mail, *to("ada"), **more, password={"secret": "mail_password"})
        (refused,) = await send(mail, *to("ada"), **more, password={"secret": "wrong"})
    assert (distrusted.kind, distrusted.retries_left) == ("retried", None)
    assert "certificate" in str(distrusted.error)
    assert ended.kind == "completed"
    assert [each["tls"] for each in mail.kept] == [True]
    assert (refused.kind, refused.retries_left) == ("retried", None)
    assert "535" in str(refused.error)


async def test_without_tls_on_offer_nothing_is_sent(mail: Mail) -> None:
    (ended,) = await send(mail, *to("ada"), tls="starttls")
    assert (ended.kind, ended.retries_left, mail.kept) == ("retried", None, [])


async def test_a_row_chooses_among_the_templates_there_are(mail: Mail) -> None:
    templates = {"welcome": {"subject": "Welcome", "text": "w"}, "bye": {"subject": "Bye", "html": "b"}}
    payloads = [{"to": "ada@example.org", "template": name} for name in ("bye", "/etc/passwd", "")]
    ended = await send(mail, *payloads, *to("bob"), subject=None, text=None, templates=templates)
    assert [each.kind for each in ended] == ["completed", "failed", "failed", "failed"]
    assert "(there are: welcome, bye)" in str(ended[1].error)
    assert [each["Subject"] for each in mail.letters] == ["Bye"]


async def test_more_headers(mail: Mail) -> None:
    ended = await send(mail, *to("ada", "x\ny"), headers={"X-Name": "n ${data.name}"}, subject="s", text="t")
    assert [each.kind for each in ended] == ["completed", "failed"]
    assert mail.letters[0]["X-Name"] == "n ada"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"server": ""}, "server: "),
        ({"from": "nobody"}, "from is not one address"),
        ({"from": "a@b.org\nBcc: c@d.org"}, "from holds a line break"),
        ({"subject": "a\nb"}, "subject holds a line break"),
        ({"subject": "${data"}, "is no placeholder"),
        ({"text": "${data.x!r}", "subject": None}, "a letter needs a subject"),
        ({"text": None}, "a letter needs text or html"),
        ({"templates": {"a": {"subject": "s"}}, "subject": None, "text": None}, "templates.a: a letter needs text"),
        ({"templates": {"a": {"subject": "s", "text": "t"}}}, "either templates, or"),
        ({"user": "shop"}, "user and password go together"),
        ({"password": "sesame", "user": "shop"}, 'password: write {"secret": "name"}'),
        ({"headers": {"Bcc": "a@b.org"}}, "'Bcc' is not set here"),
        ({"headers": {"X Y": "z"}}, "is no header in one line"),
        ({"tls": "maybe"}, "tls: "),
        ({"attachments": []}, "attachments: there is no such field"),
        ({"timeout": "never"}, "timeout: not a duration"),
    ],
    ids=range(16),
)
def test_a_wrong_config_names_processor_and_field(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorInvalid) as wrong:
        email.make("mine", {"server": "localhost", **LETTER, **more})
    assert "'mine': config " in str(wrong.value)
    assert said in str(wrong.value)
    assert "sesame" not in str(wrong.value)


def test_a_password_does_not_travel_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_P", "sesame")
    more = {"tls": "none", "user": "shop", "password": {"secret": "p"}}
    with pytest.raises(ProcessorInvalid, match="not sent without TLS"):
        email.make("mine", {"server": "mail.example.org", **LETTER, **more})
    made = email.make("mine", {"server": "localhost", **LETTER, **more})
    assert "sesame" not in repr(made)
