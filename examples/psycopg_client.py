"""Asking for work with psycopg: nothing of actiond is installed here. Run with: python examples/psycopg_client.py"""

import os

import psycopg
from psycopg.types.json import Jsonb

with psycopg.connect(os.environ["ACTIOND_DSN"]) as connection:  # commits at the end
    row = connection.execute(
        "insert into actiond.action (processor, data, related) values (%s, %s, %s) returning id",
        ("welcome", Jsonb({"to": "ada@example.org"}), "customer 1"),
    ).fetchone()
    print("asked for", row[0])
