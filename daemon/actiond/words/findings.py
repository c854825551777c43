"""What `actiond doctor` can find: the name of each finding, how bad it is, and why it matters.

Names are for programs and for the manual; what was found and what helps is written where the facts are known
(rules/diagnosis, rules/drift).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """Each counts more than the ones before it."""

    OK = 0
    NOTE = 1  # worth knowing
    WARNING = 2  # somebody should look at it
    ERROR = 3  # work stands still, or its record is in danger


#: Name -> (severity, why it matters).
CATALOG: dict[str, tuple[Severity, str]] = {
    # the schema
    "schema_missing": (Severity.ERROR, "without its tables actiond can do nothing"),
    "schema_outdated": (Severity.ERROR, "a daemon of this version does not start on an older schema"),
    "schema_newer": (Severity.ERROR, "a daemon of this version does not start on a newer schema"),
    "migration_edited": (Severity.ERROR, "nobody knows any more what the schema is"),
    "table_changed": (Severity.WARNING, "statements and later migrations rely on the tables being as they were made"),
    "function_changed": (Severity.WARNING, "triggers and verbs do something else than this version expects"),
    "trigger_missing": (Severity.ERROR, "inserts ring no bell, or a person's decision does not beat a late outcome"),
    "index_missing": (Severity.ERROR, "claims, lists or the rescue of rows read whole tables"),
    "index_invalid": (Severity.ERROR, "an index that was not finished costs writes and serves nobody"),
    "index_added": (Severity.NOTE, "each index makes inserts dearer; one on what a claim writes halves its speed"),
    "claim_plan": (Severity.ERROR, "a claim that does not go by its index reads all rows that wait"),
    # the server
    "standby": (Severity.ERROR, "nothing can be written on a standby"),
    "read_only": (Severity.ERROR, "nothing can be written"),
    "not_durable": (Severity.ERROR, "a crash of the machine may lose or corrupt what was committed"),
    "synchronous_commit_off": (Severity.NOTE, "a crash may lose the last commits: those actions run again"),
    "isolation": (Severity.WARNING, "claims rely on READ COMMITTED; stricter levels refuse them under load"),
    "autovacuum_off": (Severity.WARNING, "each outcome leaves a dead row: tables grow, claims become slow"),
    "forgotten_transactions": (Severity.NOTE, "a transaction that nobody ends holds back vacuum for ever"),
    "superuser": (Severity.NOTE, "whoever takes over a processor has the whole server"),
    "notification_queue": (Severity.WARNING, "when the queue is full every commit that notifies fails, inserts too"),
    "connection_budget": (Severity.WARNING, "daemons that get no connection claim nothing and save nothing"),
    "clock_skew": (Severity.WARNING, "times in the log of this host and in the rows do not fit together"),
    # sessions
    "long_transaction": (Severity.WARNING, "vacuum removes no row that died since: claims become slow"),
    "prepared_transaction": (Severity.WARNING, "it holds its locks and holds back vacuum until somebody ends it"),
    "session_blocked": (Severity.WARNING, "a daemon waits: its outcomes are not saved, or nothing is claimed"),
    "dead_rows": (Severity.WARNING, "claims step over dead rows, one by one"),
    # LISTEN
    "listen_off": (Severity.NOTE, "rows are found by polling alone"),
    "listen_silent": (Severity.ERROR, "no wake-up arrives, and the liveness lock protects nothing"),
    "listen_elsewhere": (Severity.ERROR, "wake-ups and locks are of another database than the rows"),
    # the work
    "no_daemon": (Severity.WARNING, "nothing runs"),
    "daemon_silent": (Severity.WARNING, "frozen, cut off or killed: its rows come back when its lease is over"),
    "run_abandoned": (Severity.ERROR, "these rows look as if they ran, and nobody runs them"),
    "run_overdue": (Severity.WARNING, "a handler ignores its cancellation, or its outcomes cannot be saved"),
    "paused": (Severity.NOTE, "nothing is claimed"),
    "processor_disabled": (Severity.NOTE, "its rows wait"),
    "flag_off": (Severity.NOTE, "its rows wait"),
    "flag_unknown": (Severity.WARNING, "a flag that nobody has set is off: a misspelt name, or one to be set yet"),
    "processor_unserved": (Severity.WARNING, "its rows wait until a daemon has it"),
    "orphans": (Severity.WARNING, "a misspelt name, or a processor that was removed: these rows wait for ever"),
    # the doctor itself
    "not_checked": (Severity.WARNING, "what was not looked at may be wrong"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody should know."""

    name: str
    what: str
    remedy: str  # a command, or what to do

    @property
    def severity(self) -> Severity:
        """How bad."""
        return CATALOG[self.name][0]

    @property
    def why(self) -> str:
        """Why it matters."""
        return CATALOG[self.name][1]


def worst(findings: list[Finding]) -> Severity:
    """OK if there are none."""
    return max((each.severity for each in findings), default=Severity.OK)
