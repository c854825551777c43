"""OpenTelemetry spans, for whoever has the API installed and a tracer provider configured.

    one at a time     a span `process NAME` a call: the child of the span that asked for the action, if the row
                      brings one (column trace)
    batch             a span `batch NAME` a call, linked to the spans that asked; and for each row that brings one a
                      span `process NAME`, its child, linked to the batch

The span of the call is the current one in the handler. An outcome that is no success is an error with the text
that the row keeps, which is redacted; exceptions are not recorded, because their frames and texts are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actiond.batch.run import Work
from actiond.host.extras import OpenTelemetry
from actiond.words.claimed import ClaimedRow, Settlement

LINKS_MAX = 128  # what the SDK keeps of them, too

_NOT_WELL = ("failed", "retried")


class Tracing:
    """Makes the spans of calls."""

    def __init__(self, otel: OpenTelemetry) -> None:
        self._otel = otel

    def call(self, work: Work, batch: bool) -> CallSpans:
        """Started now; `with` it around the handler, `ended` when its outcomes are known."""
        otel, run = self._otel, work.run
        about = {
            "messaging.system": "actiond",
            "messaging.operation.type": "process",
            "messaging.destination.name": run.processor,
            "actiond.run_id": run.id,
        }
        if not batch:
            span = self._of_row(work.rows[0], run.processor, about, ())
            return CallSpans(otel, span, {work.rows[0].id: span})
        asked = [row for row in work.rows if row.trace is not None]
        links = [otel.link(row.trace) for row in asked[:LINKS_MAX]]
        about["messaging.batch.message_count"] = len(work.rows)
        span = otel.start(f"batch {run.processor}", None, about, links)
        to_batch = [otel.link_to(span)]
        del about["messaging.batch.message_count"]
        return CallSpans(otel, span, {row.id: self._of_row(row, run.processor, about, to_batch) for row in asked})

    def _of_row(self, row: ClaimedRow, processor: str, about: dict[str, Any], links: Sequence[Any]) -> Any:
        said = {**about, "messaging.message.id": str(row.id), "actiond.attempt": row.attempts}
        return self._otel.start(f"process {processor}", row.trace, said, links)


class CallSpans:
    """Of one call."""

    def __init__(self, otel: OpenTelemetry, span: Any, of_rows: dict[int, Any]) -> None:
        self._otel = otel
        self._span = span
        self._of_rows = of_rows
        self._outcomes: dict[str, int] = {}

    def __enter__(self) -> None:
        self._token = self._otel.enter(self._span)

    def __exit__(self, *_: object) -> None:
        self._otel.leave(self._token)

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """What became of some of its actions."""
        for each in settlements:
            self._outcomes[each.kind] = self._outcomes.get(each.kind, 0) + 1
            span = self._of_rows.get(each.id)
            if span is not None:
                span.set_attribute("actiond.outcome", each.kind)
                if each.kind in _NOT_WELL:
                    self._otel.fail(span, each.error or each.kind)

    def ended(self, error: str | None) -> None:
        """The call is over, and everything that became of its actions is told. `error`: of the call itself."""
        if self._span not in self._of_rows.values():
            for kind, count in self._outcomes.items():
                self._span.set_attribute(f"actiond.{kind}", count)
            if error is not None:
                self._otel.fail(self._span, error)
            self._span.end()
        for span in self._of_rows.values():
            span.end()
