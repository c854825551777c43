"""contract/encryption: what the model says is encrypted, opened again only with a key, for its processor and field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import BaseModel, ConfigDict, Field

from actiond import Action, Batch, Encrypted, Failure, ProcessorInvalid, batch_processor, processor, versioned
from actiond.contract import encryption
from actiond.testing import run_batch
from actiond.words.errors import OperatorError, PayloadInvalid, PayloadLocked

CARD = "4111-1111-1111-1111"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_PAYLOAD_KEY", OLD)


class Address(BaseModel):
    street: str


class Charge(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount: int
    card: Encrypted[str]
    to: Encrypted[Address] | None = None
    pin: Encrypted[int] = Field(0, alias="PIN")


@processor("charge")
async def charge(action: Action[Charge]) -> int:
    raise Failure(f"no bank knows {action.data.card}, pin {action.data.pin}, of {action.data.to}")


GIVEN = {"amount": 7, "card": CARD, "to": {"street": "Graben 11"}, "PIN": 123456}


def test_what_is_stored_holds_nothing_that_can_be_read_and_is_opened_again() -> None:
    stored = charge.asked_with(GIVEN)
    text = json.dumps(stored)
    assert stored["amount"] == 7
    assert [list(stored[name]) for name in ("card", "to", "PIN")] == [["$encrypted"]] * 3
    for hidden in (CARD, "Graben", "123456"):
        assert hidden not in text
    opened = charge.decode(text)
    assert (opened.card, opened.to, opened.pin) == (CARD, Address(street="Graben 11"), 123456)
    assert charge.asked_with(stored) == stored  # once is enough
    assert charge.asked_with(GIVEN)["card"] != stored["card"]  # and nobody sees that two are the same


def test_what_was_written_as_it_is_is_read_all_the_same() -> None:
    assert charge.decode(json.dumps(GIVEN)).card == CARD


def test_keys_are_changed_by_putting_a_new_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.dumps(charge.asked_with(GIVEN))
    monkeypatch.setenv("ACTIOND_SECRET_PAYLOAD_KEY", f"{NEW}\n{OLD}")
    after = json.dumps(charge.asked_with(GIVEN))
    assert charge.decode(before).card == charge.decode(after).card == CARD
    monkeypatch.setenv("ACTIOND_SECRET_PAYLOAD_KEY", NEW)
    assert charge.decode(after).card == CARD
    with pytest.raises(PayloadLocked, match="cannot be decrypted: no key of the secret 'payload_key' opens 'card'"):
        charge.decode(before)


@pytest.mark.parametrize(
    ("given", "said"),
    [("", "there is no secret 'payload_key': set ACTIOND_SECRET_PAYLOAD_KEY"), ("short", "has to be keys of Fernet")],
    ids=["none", "no_key"],
)
def test_without_a_key_nothing_is_stored_and_nothing_is_read(
    given: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = json.dumps(charge.asked_with(GIVEN))
    monkeypatch.setenv("ACTIOND_SECRET_PAYLOAD_KEY", given)
    with pytest.raises(OperatorError, match=said):
        charge.asked_with(GIVEN)
    with pytest.raises(PayloadLocked, match=said):
        charge.decode(stored)


def test_a_token_is_good_for_its_field_and_its_processor_only() -> None:
    stored = charge.asked_with(GIVEN)
    with pytest.raises(PayloadInvalid, match="card: was encrypted for another field"):
        charge.decode(json.dumps({**stored, "card": stored["PIN"]}))
    other = processor("other")(charge.handler)
    with pytest.raises(PayloadInvalid, match="or for another processor"):
        other.decode(json.dumps(stored))


@pytest.mark.parametrize("token", ["x", "größe", "gAAAAA=="], ids=repr)
def test_what_is_no_token_is_locked(token: str) -> None:
    with pytest.raises(PayloadLocked):
        charge.decode(json.dumps({"amount": 1, "card": {"$encrypted": token}}))


async def test_the_error_of_a_handler_shows_nothing_of_it() -> None:
    (failed,) = await run_batch(charge, [charge.asked_with(GIVEN)])
    assert failed.error == "no bank knows [hidden], pin [hidden], of street='[hidden]'"


async def test_a_row_without_its_key_comes_back_uncharged_and_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    @batch_processor("charge")
    async def charge_all(batch: Batch[Charge]) -> None:
        batch.complete()

    locked = charge.asked_with(GIVEN)
    monkeypatch.setenv("ACTIOND_SECRET_PAYLOAD_KEY", NEW)
    ended = await run_batch(charge_all, [locked, charge.asked_with(GIVEN)])
    assert [(each.kind, each.retries_left) for each in ended] == [("retried", None), ("completed", None)]
    assert "cannot be decrypted" in str(ended[0].error)


def test_versions_come_after_it() -> None:
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {"card": data["number"]}

    class First(BaseModel):
        number: Encrypted[str]

    @versioned(renamed)
    class Second(BaseModel):
        card: Encrypted[str]

    def handler(action: Action[First]) -> None: ...
    def later(action: Action[Second]) -> None: ...

    stored = processor("pay")(handler).asked_with({"number": CARD})
    now = processor("pay")(later)
    assert now.decode(json.dumps(stored)).card == CARD
    assert CARD in now.to_hide(json.dumps(stored))
    assert list(json.loads(now.to_hide(json.dumps(stored)))) == ["number", "card"]


def test_who_has_not_the_code_is_told_by_the_schema() -> None:
    _, _, schema, redact = charge.stored()
    assert redact == ("card", "pin", "to")
    found = encryption.Encryption.in_schema("charge", json.loads(schema or ""))
    assert found is not None
    assert charge.decode(json.dumps(found.sealed(GIVEN))).card == CARD
    assert CARD not in json.dumps(found.sealed(GIVEN))
    assert encryption.Encryption.in_schema("charge", {"properties": {}}) is None
    assert encryption.Encryption.in_schema("charge", None) is None


class Inside(BaseModel):
    charges: list[Charge]


@pytest.mark.parametrize("payload", [Inside, list[Charge], dict[str, Encrypted[str]]], ids=["field", "list", "dict"])
def test_a_mark_that_would_not_be_kept_is_refused(payload: Any) -> None:
    def handler(action: Any) -> None: ...

    handler.__annotations__["action"] = Action[payload]
    with pytest.raises(ProcessorInvalid, match="Encrypted is for fields"):
        processor("a")(handler)


def test_a_model_that_names_itself_is_looked_through_once() -> None:
    class Tree(BaseModel):
        leaves: list[Tree] = []
        name: Encrypted[str] = ""

    with pytest.raises(ProcessorInvalid, match="leaves: Encrypted is for fields at the top"):
        encryption.Encryption.of("a", Tree)


def test_without_the_package_the_declaration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProcessorInvalid, match=r"pip install 'actiond\[encrypt\]'"):
        encryption.Encryption.of("charge", Charge)
