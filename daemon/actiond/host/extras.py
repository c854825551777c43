"""Optional packages, in one place: the only imports on demand outside the command line."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from actiond.words.errors import OperatorError

#: As in the metadata of a package: httpx>=0.27; extra == "http"
_OF_AN_EXTRA = re.compile(r"""(?P<package>[\w.-]+).*;.*\bextra *== *["'](?P<extra>[\w.-]+)["']""")


def uvloop_installed() -> bool:
    """Extra [fast]: a quicker event loop."""
    return importlib.util.find_spec("uvloop") is not None


def loop_class() -> type[asyncio.AbstractEventLoop]:
    """Of the event loop of a daemon."""
    if not uvloop_installed():
        return asyncio.SelectorEventLoop
    import uvloop

    quick: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return quick


def load(entry: EntryPoint) -> Any:
    """What an entry point names. OperatorError if it needs an extra that is not installed, and says which."""
    try:
        return entry.load()
    except ModuleNotFoundError as missing:
        extra = _extra_with(entry, missing.name or "")
        if extra is None or entry.dist is None:
            raise
        wanted = f"pip install '{entry.dist.name}[{extra}]'"
        raise OperatorError(f"{entry.name!r} needs the package {missing.name}, which is not here: {wanted}") from None


def _extra_with(entry: EntryPoint, module: str) -> str | None:
    """The extra that would have brought this module; packages and their modules have one name here."""
    for requirement in (entry.dist.requires if entry.dist else None) or ():
        found = _OF_AN_EXTRA.match(requirement)
        if found and re.sub(r"[-.]", "_", found["package"]).lower() == module.partition(".")[0].lower():
            return found["extra"]
    return None


class Metrics:
    """Extra [metrics]: what prometheus-client and uvicorn do for us."""

    def __init__(self, core: Any, prometheus: Any, uvicorn: Any) -> None:
        self.CounterMetricFamily: Callable[..., Any] = core.CounterMetricFamily
        self.GaugeMetricFamily: Callable[..., Any] = core.GaugeMetricFamily
        self.HistogramMetricFamily: Callable[..., Any] = core.HistogramMetricFamily
        #: What a client accepts -> (collector -> text, its content type)
        self.encoder: Callable[[str], tuple[Callable[[Any], bytes], str]] = prometheus.exposition.choose_encoder
        self._prometheus = prometheus
        self._uvicorn = uvicorn

    def process_collector(self) -> Any:
        """Memory, CPU time and open files of this process."""
        return self._prometheus.ProcessCollector(registry=None)

    def server(self, app: Any, stop_s: float, clients_max: int) -> Any:
        """A server that leaves signals, logging and the event loop of the process alone."""
        return self._uvicorn.Server(
            self._uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=clients_max,
                timeout_graceful_shutdown=max(1, round(stop_s)),
            )
        )


def metrics() -> Metrics:
    """OperatorError with the command that helps, if it is not installed."""
    try:
        return Metrics(*map(importlib.import_module, ("prometheus_client.core", "prometheus_client", "uvicorn")))
    except ImportError as missing:
        raise OperatorError(
            f"ACTIOND_HTTP needs {missing.name}, which is not installed: pip install 'actiond[metrics]'"
        ) from None


class OpenTelemetry:
    """Extra [otel]: the few things that spans need of opentelemetry-api."""

    def __init__(self, trace: Any, context: Any, propagation: Any, version: str) -> None:
        self._trace = trace
        self._context = context
        self._traceparent = propagation.TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("actiond", version)

    @property
    def provider(self) -> str:
        """Its kind."""
        return type(self._trace.get_tracer_provider()).__qualname__

    def start(self, name: str, parent: str | None, attributes: dict[str, Any], links: Sequence[Any]) -> Any:
        """A span that is nobody's child but that of `parent`, a W3C traceparent."""
        kind = self._trace.SpanKind.CONSUMER
        return self._tracer.start_span(name, self._parent(parent), kind, attributes, links)

    def link(self, parent: str | None) -> Any:
        """To the span of a W3C traceparent."""
        return self.link_to(self._trace.get_current_span(self._parent(parent)))

    def link_to(self, span: Any) -> Any:
        """To a span."""
        return self._trace.Link(span.get_span_context())

    def enter(self, span: Any) -> Any:
        """Make it the current one; gives what `leave` wants."""
        return self._context.attach(self._trace.set_span_in_context(span))

    def leave(self, token: Any) -> None:
        """As it was before `enter`."""
        self._context.detach(token)

    def fail(self, span: Any, why: str) -> None:
        """Its work did not succeed."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, why))

    def _parent(self, traceparent: str | None) -> Any:
        nobody = self._context.Context()
        return nobody if traceparent is None else self._traceparent.extract({"traceparent": traceparent}, nobody)


def opentelemetry(version: str) -> OpenTelemetry | None:
    """None: it is not installed, or nobody has configured a tracer provider for this process."""
    try:
        trace, context, propagation = map(
            importlib.import_module,
            ("opentelemetry.trace", "opentelemetry.context", "opentelemetry.trace.propagation.tracecontext"),
        )
    except ImportError:
        return None
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # what holds the place of none
        return None
    return OpenTelemetry(trace, context, propagation, version)
