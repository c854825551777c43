"""From what the server says of itself to findings. Rows are those of sql/doctor_*.sql."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actiond.words.duration import counted, in_words
from actiond.words.findings import Finding

Row = Mapping[str, Any]

COUNT_AT_MOST = 10_000  # where sql/status_processors stops


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is worth a finding."""

    transaction_s: float = 300.0
    blocked_s: float = 5.0
    queue: float = 0.1  # share of the notification queue
    skew_s: float = 5.0
    dead_rows: int = 10_000
    dead_share: float = 0.2  # of all rows of a table
    silence_s: float = 5.0  # a daemon beats every second
    abandoned_s: float = 15.0  # dead daemons' rows come back within seconds, if another one lives
    grace_s: float = 60.0  # a run may be open this much longer than its timeouts
    each: int = 5  # findings of one name, at most


def server(now: Row, here_at: float, limits: Limits) -> Iterator[Finding]:
    """`here_at`: seconds since 1970 by the clock of this host."""
    if now["standby"]:
        yield Finding("standby", "this server is a standby", "let ACTIOND_DSN lead to the primary")
    if now["read_only"]:
        yield Finding(
            "read_only",
            "default_transaction_read_only is on for this role or database",
            "`alter role ... reset default_transaction_read_only`, or the same for the database",
        )
    if not now["durable"]:
        yield Finding(
            "not_durable",
            "fsync or full_page_writes is off",
            "`alter system reset fsync`, full_page_writes too; restart",
        )
    if not now["synchronous"]:
        yield Finding("synchronous_commit_off", "synchronous_commit is off", "nothing, if that is what you want")
    if now["isolation"] != "read committed":
        yield Finding(
            "isolation",
            f"default_transaction_isolation is {now['isolation']}",
            "`alter role ... set default_transaction_isolation = 'read committed'` for the role of the daemon",
        )
    if not now["autovacuum"]:
        yield Finding("autovacuum_off", "autovacuum is off on this server", "`alter system reset autovacuum`; reload")
    if not now["forgotten_transactions_end"]:
        yield Finding(
            "forgotten_transactions",
            "idle_in_transaction_session_timeout is 0 (actiond's own sessions have one)",
            "`alter database ... set idle_in_transaction_session_timeout = '10min'`",
        )
    if now["superuser"]:
        yield Finding("superuser", "this role is a superuser", "let the daemon connect as a role of its own")
    if now["queue"] > limits.queue:
        yield Finding(
            "notification_queue",
            f"the notification queue is {now['queue']:.2%} full: some session listens inside a long transaction",
            "end that transaction: see long_transaction, or pg_stat_activity",
        )
    skew_s = now["server_at"] - here_at
    if abs(skew_s) > limits.skew_s:
        ahead = "ahead of" if skew_s > 0 else "behind"
        yield Finding(
            "clock_skew", f"the server's clock is {in_words(abs(skew_s))} {ahead} this host's", "run NTP on both"
        )


def connections(now: Row, daemons: int, each: int) -> Iterator[Finding]:
    """`daemons` live and may open `each` connections; one more should still fit when none lives."""
    others = now["sessions"] - now["ours"]
    asked = max(1, daemons) * each
    if others + asked > now["room"]:
        yield Finding(
            "connection_budget",
            f"{counted(max(1, daemons), 'daemon')} may open {each} connections each and {others} others are open, "
            f"but max_connections leaves {now['room']}",
            "raise max_connections, or lower ACTIOND_CONNECTIONS and ACTIOND_HANDLER_CONNECTIONS",
        )


def transactions(rows: Sequence[Row]) -> Iterator[Finding]:
    """Old transactions, open or prepared."""
    for row in rows:
        age = in_words(row["age_s"])
        if row["pid"] is None:
            yield Finding(
                "prepared_transaction",
                f"{row['name']!r} of {row['who']} is prepared for {age}",
                f"end it: `rollback prepared '{row['name']}'`, or commit it",
            )
        else:
            yield Finding(
                "long_transaction",
                f"pid {row['pid']}, user {row['who']}, application {row['application'] or '?'!r}, {row['state']}: "
                f"in a transaction for {age}",
                f"end it: `select pg_terminate_backend({row['pid']})`",
            )


def blocked(rows: Sequence[Row]) -> Iterator[Finding]:
    """Sessions of daemons that wait for a lock."""
    for row in rows:
        yield Finding(
            "session_blocked",
            f"{row['application']} (pid {row['pid']}) waits {in_words(row['waits_s'])} for a lock "
            f"of pid {row['by_pid']}, user {row['by_who']}, application {row['by_application'] or '?'!r}",
            f"end what holds it: `select pg_terminate_backend({row['by_pid']})`",
        )


def tables(rows: Sequence[Row], limits: Limits) -> Iterator[Finding]:
    """Dead rows, and who may not be cleaned."""
    for row in rows:
        if not row["autovacuum"]:
            yield Finding(
                "autovacuum_off",
                f"autovacuum is off for {row['name']}",
                f"`alter table {row['name']} reset (autovacuum_enabled)`",
            )
        dead, whole = row["dead"], row["live"] + row["dead"]
        if dead >= limits.dead_rows and dead > limits.dead_share * whole:
            last = "never" if row["vacuumed_s"] is None else f"{in_words(row['vacuumed_s'])} ago"
            yield Finding(
                "dead_rows",
                f"{dead:,} of {whole:,} rows of {row['name']} are dead; the last vacuum was {last}",
                f"`vacuum {row['name']}`; if they stay, see long_transaction",
            )


def daemons(rows: Sequence[Row], limits: Limits) -> Iterator[Finding]:
    """Those that have not ended."""
    for row in rows:
        if row["seen_s"] > limits.silence_s:
            yield Finding(
                "daemon_silent",
                f"daemon {row['id']} on {row['host']}, pid {row['pid']}, was last seen {in_words(row['seen_s'])} ago",
                "look at its log; another daemon takes over its rows",
            )
    if not any(row["lives"] for row in rows):
        yield Finding("no_daemon", "no daemon is running", "`actiond run`")


def runs(rows: Sequence[Row], limits: Limits) -> Iterator[Finding]:
    """Open runs that nobody runs, or that should be over."""
    for row in rows:
        rows_ = counted(row["rows"], "row")
        what = f"run {row['id']} of {row['processor']!r} with {rows_} on daemon {row['daemon']}"
        silent_s = row["seen_s"] if row["seen_s"] is not None else row["age_s"]
        if not row["lives"]:
            if silent_s > limits.abandoned_s:
                yield Finding(
                    "run_abandoned",
                    f"{what}, which does not live",
                    "start a daemon, it returns the rows: `actiond run`",
                )
        elif row["age_s"] > row["allowed_s"] + limits.grace_s:
            yield Finding(
                "run_overdue",
                f"{what} is open for {in_words(row['age_s'])}; its timeouts allow {in_words(row['allowed_s'])}",
                "look for handler_runaway and unsaved_outcomes_full in the daemon's log; restart it",
            )


def work(processors: Sequence[Row], settings: Mapping[str, Any], living: Sequence[Row]) -> Iterator[Finding]:
    """What waits, and why nobody will take it. Counts are bounded."""
    if settings.get("paused") is True:
        yield Finding("paused", "everything is paused", "`actiond resume --all`")
    served = {name for daemon in living for name in daemon["processors"]}
    for each in processors:
        name, waiting = each["processor"], each["due"] + each["scheduled"]
        if not waiting:
            continue
        quoted, rows = name.replace("'", "''"), _waiting(waiting)
        if not each["registered"] and name not in served:
            yield Finding(
                "orphans",
                f"{rows} for {name!r}, which no daemon ever declared",
                f"correct the name: `update actiond.action set processor = '...' where processor = '{quoted}'`, "
                "or start a daemon that has it",
            )
        elif living and name not in served:
            yield Finding(
                "processor_unserved",
                f"{rows} for {name!r}, and no daemon that lives has it",
                "`actiond run --processors FILE` with the file that has it",
            )
        if not each["enabled"]:
            yield Finding(
                "processor_disabled",
                f"{name!r} is disabled, and {rows}",
                f"`actiond resume {shlex.quote(name)}`",
            )
        if not each["flag_on"]:
            flag = each["flag"]
            yield Finding("flag_off", f"the flag {flag!r} of {name!r} is off, and {rows}", f"`actiond flag on {flag}`")


def flags(rows: Sequence[Row]) -> Iterator[Finding]:
    """Those that something asks for and nobody has set."""
    known = [row["flag"] for row in rows if row["enabled"] is not None]
    for row in rows:
        if row["enabled"] is not None:
            continue
        flag, by = row["flag"], row["asked_by"]
        meant = difflib.get_close_matches(flag, known, 1)
        more = f" and {len(by) - 3} more" if len(by) > 3 else ""
        asks = f"{', '.join(by[:3])}{more} {'asks' if len(by) == 1 else 'ask'}"
        yield Finding(
            "flag_unknown",
            f"{asks} for flag {flag!r}, which nobody has set" + (f"; did you mean {meant[0]!r}?" if meant else ""),
            f"correct the name, or set it: `actiond flag on {flag}`, `actiond flag off {flag}`",
        )


def _waiting(count: int) -> str:
    more = "+" if count >= COUNT_AT_MOST else ""
    return "1 row waits" if count == 1 else f"{count:,}{more} rows wait"


def bounded(findings: Iterator[Finding], limits: Limits) -> Iterator[Finding]:
    """Not more than a few of each name."""
    counts: dict[str, int] = {}
    for each in findings:
        counts[each.name] = counts.get(each.name, 0) + 1
        if counts[each.name] <= limits.each:
            yield each
