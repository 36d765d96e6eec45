"""One trace from the request to the page: thin spans of our own around the awaited acknowledgement and the handler (ADR 3)."""

import contextlib
from collections.abc import Iterator, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes as AnyAttributes

from shared.telemetry.attributes import Attributes, plain

Header = tuple[str, bytes]
_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("stillwater")
ALARM_SPAN = "raise alarm"


class Share(Sampler):
    """Of the traces that begin here this share is kept, and every alarm; what began elsewhere as its `traceparent` says."""

    def __init__(self, ratio: float) -> None:
        self._ordinary = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: AnyAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = ALWAYS_ON if name == ALARM_SPAN else self._ordinary
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return type(self).__name__


def current_traceparent() -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


@contextlib.contextmanager
def _recorded(
    name: str, context: Context | None, kind: SpanKind, attributes: Attributes, links: Sequence[Link]
) -> Iterator[Span]:
    """The only way in which a span is begun: an error leaves its class there, never its text and trace, which may hold values."""
    with _TRACER.start_as_current_span(
        name, context, kind, plain(attributes), links, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            raise


def _span(
    name: str, kind: SpanKind, parent: str | None, attributes: Attributes, *, link: bool = False
) -> contextlib.AbstractContextManager[Span]:
    context = _PROPAGATOR.extract({"traceparent": parent}) if parent else None
    links = [Link(trace.get_current_span(context).get_span_context())] if link and context else []
    return _recorded(name, context, kind, attributes, links)


def _origin(traceparent: str | None) -> SpanContext:
    """What a traceparent names; not valid where it names nothing."""
    return trace.get_current_span(_PROPAGATOR.extract({"traceparent": traceparent or ""})).get_span_context()


def _root(
    name: str, kind: SpanKind, origin: SpanContext, attributes: Attributes
) -> contextlib.AbstractContextManager[Span]:
    """Of a trace of its own, linked to where it came from."""
    return _recorded(name, Context(), kind, attributes, [Link(origin)] if origin.is_valid else [])


def request_span(
    method: str, traceparent: str | None, *, known: bool = True
) -> contextlib.AbstractContextManager[Span]:
    """Who says not who he is decides nothing about our traces: his is linked, not continued (interop.md 6)."""
    attributes: Attributes = {"http.request.method": method}
    if known or traceparent is None:
        return _span(method, SpanKind.SERVER, traceparent, attributes)
    return _root(method, SpanKind.SERVER, _origin(traceparent), attributes)


@contextlib.contextmanager
def alarm_span(traceparent: str | None) -> Iterator[str | None]:
    """Yields the alarm's own traceparent: always kept, below the reading's request or, where that is not kept, linked to it."""
    origin = _origin(traceparent)
    if origin.trace_flags.sampled:
        span = _span(ALARM_SPAN, SpanKind.INTERNAL, traceparent, {})
    else:
        span = _root(ALARM_SPAN, SpanKind.INTERNAL, origin, {})
    with span:
        yield current_traceparent()


def call_span(name: str, traceparent: str | None, peer: str) -> contextlib.AbstractContextManager[Span]:
    """A call to a provider: `deliver pager`."""
    return _span(name, SpanKind.CLIENT, traceparent, {"server.address": peer})


@contextlib.contextmanager
def send_span(topic: str, headers: Sequence[Header]) -> Iterator[list[Header]]:
    """Yields the headers with `traceparent` replaced, never appended; `ce_traceparent` keeps the origin."""
    origin = next((item.decode() for name, item in headers if name == "traceparent"), None)
    attributes = _messaging("send", topic)
    with _span(f"send {topic}", SpanKind.PRODUCER, origin, attributes):
        hop = current_traceparent()
        kept = [(name, item) for name, item in headers if name != "traceparent"]
        yield [*kept, ("traceparent", hop.encode())] if hop else kept


def process_span(
    topic: str, group: str, headers: Sequence[tuple[str, bytes | None]]
) -> contextlib.AbstractContextManager[Span]:
    parent = next((item.decode("ascii", "ignore") for name, item in headers if name == "traceparent" and item), None)
    attributes: Attributes = {**_messaging("process", topic), "messaging.consumer.group.name": group}
    return _span(f"process {topic}", SpanKind.CONSUMER, parent, attributes, link=True)


def _messaging(operation: str, topic: str) -> Attributes:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
