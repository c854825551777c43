"""rules/transit: which DSNs would trust whoever answers."""

from __future__ import annotations

import pytest

from actiond.rules.transit import unverified


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql:///app",
        "postgresql://app@/app?host=/run/postgresql",
        "postgresql://%2Frun%2Fpostgresql/app",
        "postgresql://app:secret@localhost/app",
        "postgresql://127.0.0.1:5432/app?sslmode=disable",
        "postgresql://127.3.2.1/app",
        "postgresql://[::1]:5432/app",
        "postgresql://db.example.org/app?sslmode=verify-full",
        "postgresql://a.example.org,b.example.org:5433/app?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://[db/app",  # nothing that anybody could connect to
    ],
)
def test_what_stays_here_or_verifies_is_left_alone(dsn: str) -> None:
    assert unverified(dsn, {}) == []


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://db.example.org/app", ["db.example.org"]),
        ("postgresql://app:s@c:ret@db/app", ["db"]),
        ("postgresql://10.0.0.5:6432/app?sslmode=prefer", ["10.0.0.5"]),
        ("postgresql://db/app?sslmode=require", ["db"]),
        ("postgresql://db/app?sslmode=verify-ca", ["db"]),
        ("postgresql://db/app?sslmode=verify-full&sslmode=disable", ["db"]),
        ("postgresql://localhost,a:1,b:2,a:3/app", ["a", "b"]),
        ("postgresql:///app?host=db.example.org", ["db.example.org"]),
        ("postgresql://[2001:db8::1]:5432/app", ["2001:db8::1"]),
        ("postgresql://localhost.example.org/app", ["localhost.example.org"]),
    ],
)
def test_a_host_that_is_trusted_unseen_is_named(dsn: str, hosts: list[str]) -> None:
    assert unverified(dsn, {}) == hosts


def test_what_the_dsn_leaves_out_the_environment_says() -> None:
    assert unverified("postgresql:///app", {"PGHOST": "db"}) == ["db"]
    assert unverified("postgresql:///app", {"PGHOST": "/run/postgresql"}) == []
    assert unverified("postgresql://db/app", {"PGSSLMODE": "verify-full"}) == []
    assert unverified("postgresql://db/app?sslmode=require", {"PGSSLMODE": "verify-full"}) == ["db"]
