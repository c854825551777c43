"""Every metric the daemon shows: its kind, its name, its labels, what it counts and in which unit.

Names end as Prometheus wants it: counters in `_total`, amounts in their unit (`_seconds`), plain gauges are bare
plurals. A label has few values: the processors of this daemon, the five outcomes, a handful of connections. A
test holds the page of the manual, the dashboard and the alert rules to this file.
"""

from __future__ import annotations

import re
from enum import StrEnum

_SIGNATURE = re.compile(r"(?P<kind>counter|gauge|histogram) (?P<name>\w+)\((?P<labels>[\w, ]*)\)")


class Metric(StrEnum):
    """One metric. Its value is its name."""

    kind: str
    labels: tuple[str, ...]
    what: str

    def __new__(cls, signature: str, what: str) -> Metric:
        read = _SIGNATURE.fullmatch(signature)
        assert read is not None, f"not the signature of a metric: {signature}"
        metric = str.__new__(cls, read["name"])
        metric._value_ = read["name"]
        metric.kind = read["kind"]
        metric.labels = tuple(re.findall(r"\w+", read["labels"]))
        metric.what = what
        return metric

    # What this daemon did, since its start
    ACTIONS = (
        "counter actiond_actions_total(processor, outcome)",
        "Outcomes that the database has confirmed: completed, failed, retried, deferred, canceled.",
    )
    CLAIMS = ("counter actiond_claims_total(processor)", "Claims that brought rows: one run each.")
    CLAIMED = ("counter actiond_claimed_actions_total(processor)", "Rows that those claims brought.")
    HANDLER_SECONDS = (
        "histogram actiond_handler_seconds(processor)",
        "How long handler calls took, in seconds; a call has one action, or a batch of them.",
    )
    WAIT_SECONDS = (
        "histogram actiond_wait_seconds(processor)",
        "How long rows waited from being due to being claimed, in seconds, attempt by attempt.",
    )
    FENCED = (
        "counter actiond_fenced_total(processor)",
        "Outcomes that came too late, for rows canceled, edited or rescued meanwhile.",
    )
    TIMEOUTS = ("counter actiond_handler_timeouts_total(processor)", "Handler calls stopped at their timeout.")
    RUNAWAYS = (
        "counter actiond_handler_runaways_total(processor)",
        "Handler calls that went on although they were canceled.",
    )
    WORKER_DEATHS = (
        "counter actiond_worker_deaths_total(processor)",
        "Worker processes that died of an action: by a crash, by their exit, by the kernel when memory is short.",
    )
    RESCUED = (
        "counter actiond_rescued_total()",
        "Rows of dead daemons that this daemon returned, those set aside as quarantined included.",
    )
    QUARANTINED = ("counter actiond_quarantined_total()", "Rows that failed because too many daemons died on them.")
    CONNECTION_TROUBLES = (
        "counter actiond_connection_troubles_total(connection)",
        "Statements or sessions that failed because of the connection or the server: claim, poll, rescue, presence.",
    )
    LEASES_LOST = (
        "counter actiond_leases_lost_total()",
        "Times this daemon could not prove in time that it lives, and dropped what it ran.",
    )
    LOOP_BLOCKED = (
        "counter actiond_loop_blocked_total()",
        "Times some code held the event loop for a second or more.",
    )
    LOG_LINES_LOST = (
        "counter actiond_log_lines_lost_total()",
        "Log lines that did not get out because the log was full or closed.",
    )

    # What is in its hands now
    RUNNING = ("gauge actiond_running(processor)", "Handler calls that run now.")
    BATCH_SIZE = ("gauge actiond_batch_size(processor)", "Rows that a claim asks for at most, now.")
    UNSAVED = ("gauge actiond_unsaved(processor)", "Outcomes that the database has not confirmed yet.")
    READY = ("gauge actiond_ready()", "1 = this daemon can claim and write, as /readyz says; else 0.")
    INFO = ("gauge actiond_info(version)", "Always 1; its label says which version runs.")

    # What the database holds: the same from every daemon, so take the max and not the sum
    PAUSED = (
        "gauge actiond_paused(processor)",
        "1 = paused, disabled, or its flag is off: nothing of it is claimed; else 0.",
    )
    BREAKER_OPEN = (
        "gauge actiond_breaker_open(processor)",
        "1 = its breaker is open: nothing but probes is claimed; else 0.",
    )
    WAITING = ("gauge actiond_waiting(processor)", "Rows that are due and unclaimed; counting stops at 10,000.")
    SCHEDULED = ("gauge actiond_scheduled(processor)", "Rows that are due later; counting stops at 10,000.")
    OLDEST_WAITING_SECONDS = (
        "gauge actiond_oldest_waiting_seconds(processor)",
        "How long the oldest row that is due has waited, in seconds; 0 = none is due.",
    )
    FAILED = ("gauge actiond_failed(processor)", "Rows that have failed for good; counting stops at 10,000.")
    BACKLOG_AGE_SECONDS = (
        "gauge actiond_backlog_age_seconds()",
        "How old the numbers of the database are, in seconds: they are read at a scrape, at most every 2 s.",
    )
