"""Numbers of a daemon as families of prometheus-client: one for each name in words/metrics.

Reads plain numbers that other threads write; nothing here waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from actiond.batch.run import BUCKETS
from actiond.batch.tally import Histogram
from actiond.host.log import lines_lost
from actiond.loops.processor_loop import ProcessorLoop
from actiond.rules.gate import Shut
from actiond.service.watched import Look, Watched
from actiond.words.metrics import Metric

OUTCOMES = ("completed", "failed", "retried", "deferred", "canceled")
CONNECTIONS = ("claim", "poll", "rescue", "presence")
BOUNDS = 23  # log2 buckets that are shown, from 1 ms to 70 min; beyond is +Inf

#: Labels and value. Of a histogram the value is a Histogram.
Sample = tuple[Sequence[str], Any]


class Exposition:
    """What prometheus-client calls a collector, for one scrape."""

    def __init__(self, core: Any, watched: Watched, look: Look) -> None:
        self._core = core  # prometheus_client.core
        self._watched = watched
        self._look = look
        self._loops = list(watched.loops.values())

    def collect(self) -> Iterator[Any]:
        """Every metric, also those without a value yet."""
        for metric in Metric:
            yield self._family(metric, self._samples(metric))

    def _family(self, metric: Metric, samples: Iterable[Sample]) -> Any:
        kinds = {
            "counter": self._core.CounterMetricFamily,
            "gauge": self._core.GaugeMetricFamily,
            "histogram": self._core.HistogramMetricFamily,
        }
        family = kinds[metric.kind](str(metric), metric.what, labels=metric.labels)
        for labels, value in samples:
            if isinstance(value, Histogram):
                family.add_metric(labels, *buckets(value))
            else:
                family.add_metric(labels, value)
        return family

    def _samples(self, metric: Metric) -> Iterable[Sample]:
        if metric in _OF_THE_DAEMON:
            return [((), _OF_THE_DAEMON[metric](self._watched, self._look))]
        if metric in _OF_A_PROCESSOR:
            value_of = _OF_A_PROCESSOR[metric]
            return [((loop.name,), value_of(loop)) for loop in self._loops]
        if metric in _OF_THE_DATABASE:
            known = self._look.backlog or {}
            field = _OF_THE_DATABASE[metric]
            return [((loop.name,), getattr(known[loop.name], field)) for loop in self._loops if loop.name in known]
        return self._others(metric)

    def _others(self, metric: Metric) -> Iterable[Sample]:
        match metric:
            case Metric.ACTIONS:
                return [
                    ((loop.name, outcome), loop.writer.tally.outcomes[outcome])
                    for loop in self._loops
                    for outcome in OUTCOMES
                ]
            case Metric.CONNECTION_TROUBLES:
                troubles = self._watched.world.counts.troubles
                return [((connection,), troubles[connection]) for connection in CONNECTIONS]
            case Metric.BACKLOG_AGE_SECONDS:
                seen = [time.monotonic() - self._look.seen_s] if self._look.backlog is not None else []
                return [((), age_s) for age_s in seen]
            case Metric.INFO:
                return [((self._watched.version,), 1)]
        raise AssertionError(f"nobody knows the value of {metric}")


def buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """(upper bound in seconds, how many up to it) and the sum, as Prometheus wants it."""
    counts, total, shown = list(histogram.counts), 0, []
    for place in range(BUCKETS):
        total += counts[place]
        if place < BOUNDS:
            shown.append((str(2**place / 1000), float(total)))
    return [*shown, ("+Inf", float(total))], histogram.sum_s


_OF_THE_DAEMON: dict[Metric, Callable[[Watched, Look], float]] = {
    Metric.RESCUED: lambda watched, _: watched.world.counts.rescued,
    Metric.QUARANTINED: lambda watched, _: watched.world.counts.quarantined,
    Metric.LEASES_LOST: lambda watched, _: watched.world.counts.leases_lost,
    Metric.LOOP_BLOCKED: lambda watched, _: watched.world.counts.loop_blocked,
    Metric.LOG_LINES_LOST: lambda *_: lines_lost(),
    Metric.READY: lambda _, look: not look.unready,
}
_OF_A_PROCESSOR: dict[Metric, Callable[[ProcessorLoop], Any]] = {
    Metric.CLAIMS: lambda loop: loop.writer.tally.claims,
    Metric.CLAIMED: lambda loop: loop.writer.tally.claimed,
    Metric.FENCED: lambda loop: loop.writer.tally.fenced,
    Metric.TIMEOUTS: lambda loop: loop.writer.tally.timeouts,
    Metric.RUNAWAYS: lambda loop: loop.writer.tally.runaways,
    Metric.WORKER_DEATHS: lambda loop: loop.writer.tally.worker_deaths,
    Metric.HANDLER_SECONDS: lambda loop: loop.writer.tally.calls,
    Metric.WAIT_SECONDS: lambda loop: loop.writer.tally.waits,
    Metric.RUNNING: lambda loop: loop.crew.running,
    Metric.BATCH_SIZE: lambda loop: loop.crew.sizing.of(loop.crew.policy.batch_size),
    Metric.UNSAVED: lambda loop: loop.writer.unsaved,
    Metric.BREAKER_OPEN: lambda loop: loop.brakes.open,
    Metric.PAUSED: lambda loop: bool({Shut.PAUSED, Shut.DISABLED, Shut.FLAG_OFF} & set(loop.shut())),
}
_OF_THE_DATABASE = {
    Metric.WAITING: "waiting",
    Metric.SCHEDULED: "scheduled",
    Metric.OLDEST_WAITING_SECONDS: "oldest_s",
    Metric.FAILED: "failed",
}
