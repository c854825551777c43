"""Fields that any line of the log can have; what each line has of its own stands in log_lines."""

from __future__ import annotations

#: Name -> what it means.
COMMON_FIELDS = {
    "timestamp": "when the line was made: UTC, by the clock of the daemon's host; in the journal, its own",
    "level": "debug, info, warning, error or critical",
    "event": "the name of the line",
    "processor": "the processor this is about",
    "run_id": "the run this is about: one call of a handler for one batch",
    "action_id": "the action this is about: one row",
    "exception": "type, message and frames of an error nobody expected, never its local variables",
    "repeated": "how many lines like this one were held back since the last one was printed",
    "lines_lost": "how many lines since the start did not get out because the log was full or closed",
}
