"""Texts and payloads that want to be something else: a statement, a command, a template, a picture on a terminal.

Each that could be carried out would leave a trace: a row, written by public.touched(), or a file.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import asyncpg

MAKE_CANARY = """
create table public.canary (text text);
create function public.touched(text text default '') returns integer language sql volatile security definer
  set search_path = pg_catalog, pg_temp as $$ insert into public.canary values ($1); select 1 $$;
grant execute on function public.touched(text) to public;
"""
_CALL = "select public.touched()"


def texts(file: Path) -> dict[str, str]:
    """name -> text; `file` is what a shell or Python would make."""
    return {
        "quote": f"x'; {_CALL}; --",
        "quote_and_bracket": f"x') ; {_CALL}; --",
        "union": "x' union all select public.touched()::text --",
        "in_an_expression": "' || public.touched()::text || '",
        "double_quote": f'x"; {_CALL}; --',
        "identifier": 'x" (select public.touched()) "',
        "dollar_quote": f"$$; {_CALL}; $$",
        "tagged_dollar_quote": f"$q$; {_CALL}; $q$",
        "escape_string": f"\\'; {_CALL}; --",
        "comment": "x */ ; select public.touched(); /*",
        "line_comment": "x -- \n; select public.touched();",
        "parameter": "$1 %s %I %L %1$s :name ?",
        "python_format": "{0.__class__.__mro__} {self} %(name)s {{7*7}} ${7*7} #{7*7}",
        "python": f"__import__('pathlib').Path({str(file)!r}).touch()",
        "shell": f"$(touch {file}); `touch {file}` | touch {file} && touch {file}",
        "option": "--version",
        "shell_option": "-oProxyCommand=touch " + str(file),
        "path": "../../../../../../../../etc/passwd",
        "function_name": "public.touched",
        "temporary": "pg_temp.action",
        "search_path": "pg_temp, public",
        "yaml": f'!!python/object/apply:os.system ["touch {file}"]\n&a [*a, *a]: {{<<: *a}} # ---\n...',
        "json": '", "processor": "other", "x": "\\u0022}]',
        "html": "<script src=//example.org></script><img src=x onerror=alert(1)>",
        "csv": "=cmd|'/c calc'!A1",
        "url": "javascript:alert(1)//http://127.0.0.1/",
        "log_line": 'x\n{"event": "daemon_ready", "level": "info"}\n2030-01-01T00:00:00Z info forged',
        "header": "x\r\nX-Forged: yes\r\n\r\nbody",
        "table_row": "x\nA-00000099  forged  completed",
        "terminal_title": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
        "terminal_c1": "\x9b2J\x9d0;owned\x9c\x90x\x9c",
        "terminal_link": "\x1b]8;;http://example.org\x1b\\here\x1b]8;;\x1b\\",
        "terminal_clipboard": "\x1b]52;c;b3duZWQ=\x07",
        "carriage_return": "secret\rpublic",
        "backspace": "abc\b\b\bxyz",
        "right_to_left": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
        "nobody_sees": "ad\u200bmin\ufeff \u2060\u00ad\U000e0041",
        "line_separator": "a\u2028b\u2029c\x85d\x0bf\x0cg",
        "markup": "[bold red]x[/] [link=file:///etc/passwd]y[/link] :smile:",
        "not_a_character": "\ufffe\uffff\U0010ffff",
        "combining": "Z" + "\u0335\u0489" * 100,
        "long": "long " * 50,
        "very_long": "x" * 100_000,
        "empty": "",
        "blank": "  \t ",
    }


def payloads() -> dict[str, str]:
    """name -> JSON text, as a producer may send it; Postgres takes some of them, and refuses others."""
    deep = 10_000
    return {
        "deep_arrays": "[" * deep + "]" * deep,
        "deep_objects": '{"a":' * deep + "1" + "}" * deep,
        "less_deep": "[" * 900 + "]" * 900,
        "long_number": "9" * 5_000,
        "long_fraction": "0." + "9" * 5_000,
        "long_number_inside": '{"number": [1, {"n": ' + "7" * 5_000 + "}]}",
        "beyond_a_double": "1e400",
        "far_beyond_a_double": "1e100000",
        "beyond_numeric": "1e1000000",
        "tiny": "1e-400",
        "minus_zero": "-0",
        "half_a_pair": '{"text": "\\ud800"}',
        "half_a_pair_as_name": '{"\\udfff": 1}',
        "pair": '{"text": "\\ud83d\\ude00"}',
        "nul": '{"text": "a\\u0000b"}',
        "nul_as_name": '{"\\u0000": 1}',
        "escaped_nul": '{"text": "\\\\u0000"}',
        "controls": json.dumps({"text": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9b\u202e"}),
        "twice": '{"a": 1, "a": 2, "a": {"a": 3}}',
        "huge_array": json.dumps([1] * 20_000),
        "huge_object": json.dumps({f"k{n}": n for n in range(5_000)}),
        "too_large": json.dumps([f"{n * 7919:x}" for n in range(100_000)]),
        "not_a_number": "NaN",
        "not_json": "{'a': 1}",
        "nothing": "",
        "dunder": '{"__class__": {"__init__": 1}, "__proto__": {"x": 1}, "constructor": 1}',
        "encrypted": '{"card": {"$encrypted": "gAAAAA"}, "$encrypted": true}',
        "version": '{"$version": 99999999999999999999}',
        "null": "null",
        "text": '"text"',
    }


@dataclass(frozen=True, slots=True)
class Canary:
    """Whether something was carried out."""

    connection: asyncpg.Connection
    file: Path

    async def sings(self) -> bool:
        """Nothing was."""
        return not self.file.exists() and await self.connection.fetchval("select count(*) from public.canary") == 0


def steering(said: str) -> set[str]:
    """What of a log line could move a cursor, break the line or turn its direction, and what nobody sees."""
    return {c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\t"}


def unprintable(said: str) -> set[str]:
    """What of an output is not as a reader sees it."""
    return {c for c in said if not c.isprintable() and c not in "\n"}
