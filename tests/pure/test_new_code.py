"""What the names of processors become where Python needs an identifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from actiond.cli import new_code


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("send_mail", "send_mail"),
        ("send-mail", "send_mail"),
        ("billing/invoice.v2", "billing_invoice_v2"),
        ("größe", "größe"),
        ("ﬁle", "file"),  # a ligature, which the parser takes for two letters
        ("2fast", "run_2fast"),
        ("class", "run_class"),
        ("match", "run_match"),
        ("print", "run_print"),
        ("processor", "run_processor"),
        ("Payload", "run_Payload"),
        ("test_mail", "run_test_mail"),
        ("---", "run"),
        ("-", "run"),
        ('a"b\\c$name', "a_b_c_name"),
        ("x" * 255, "x" * 60),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_name_becomes_an_identifier_that_means_nothing_else(name: str, function: str) -> None:
    assert new_code.function_name(name) == function
    for batch in (True, False):
        made: dict[str, object] = {}
        exec(new_code.processor_text(name, batch=batch), made)
        assert made[function].name == name


def test_a_module_that_would_hide_another_is_called_otherwise() -> None:
    assert new_code.module_name("send_mail") == "send_mail"
    assert new_code.module_name("email") == "email_processor"
    assert new_code.module_name("pytest") == "pytest_processor"


def test_a_file_in_a_package_is_imported_as_its_part(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "mail"
    inner.mkdir(parents=True)
    assert new_code.imported_as(inner / "send.py") == "send"
    (inner / "__init__.py").touch()
    assert new_code.imported_as(inner / "send.py") == "mail.send"
    (inner.parent / "__init__.py").touch()
    assert new_code.imported_as(inner / "send.py") == "shop.mail.send"
