"""Which traces are kept, what a span says of an error, and which rows of a backlog have one (ADR 8)."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.clock import ManualClock
from shared.messaging.relay import Relay
from shared.telemetry import tracing
from shared.telemetry.tracing import (
    Header,
    Share,
    alarm_span,
    call_span,
    current_traceparent,
    process_span,
    request_span,
    send_span,
)

NAME = "Rosa Lindqvist"
KEPT = f"00-{'1' * 32}-{'2' * 16}-01"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(Share(request.param))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def raise_an_alarm(traceparent: str | None = None) -> str | None:
    with request_span("POST", traceparent):
        reading = current_traceparent()
    with alarm_span(reading) as alarm:
        assert alarm
    return reading


@pytest.mark.parametrize("kept", [1.0], indirect=True)
def test_an_alarm_is_a_child_of_the_reading_whose_trace_is_kept(kept: InMemorySpanExporter) -> None:
    raise_an_alarm()
    found = spans(kept)
    parent, request = found["raise alarm"].parent, found["POST"].context
    assert parent is not None
    assert request is not None
    assert parent.span_id == request.span_id


@pytest.mark.parametrize("kept", [0.0], indirect=True)
def test_an_alarm_is_kept_though_its_reading_is_not_and_is_linked_to_it(kept: InMemorySpanExporter) -> None:
    reading = raise_an_alarm()
    found = spans(kept)
    assert list(found) == ["raise alarm"]
    assert found["raise alarm"].parent is None
    (link,) = found["raise alarm"].links
    assert (reading or "").startswith(f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-")


@pytest.mark.parametrize("kept", [0.0], indirect=True)
def test_a_trace_that_began_elsewhere_is_kept_as_it_says(kept: InMemorySpanExporter) -> None:
    raise_an_alarm(KEPT)
    assert set(spans(kept)) == {"POST", "raise alarm"}


SPANS: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "a request": lambda: request_span("POST", KEPT),
    "a request of somebody unknown": lambda: request_span("POST", KEPT, known=False),
    "an alarm below its reading": lambda: alarm_span(KEPT),
    "an alarm of its own": lambda: alarm_span(None),
    "a call": lambda: call_span("deliver pager", KEPT, "pager"),
    "a send": lambda: send_span("topic", [("traceparent", KEPT.encode())]),
    "a handler": lambda: process_span("topic", "group", [("traceparent", KEPT.encode())]),
}


@pytest.mark.parametrize("kept", [1.0], indirect=True)
@pytest.mark.parametrize("begin", SPANS.values(), ids=list(SPANS))
def test_of_an_error_a_span_tells_the_class_and_never_the_text(
    kept: InMemorySpanExporter, begin: Callable[[], contextlib.AbstractContextManager[object]]
) -> None:
    """A store's error quotes what was written."""
    with pytest.raises(ValueError, match=NAME), begin():
        raise ValueError(NAME)
    (span,) = kept.get_finished_spans()
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert NAME not in span.to_json()
    assert span.events == ()


class Broker:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.taken = list[list[Header]]()

    async def send(self, _topic: str, _value: bytes, _key: bytes, headers: list[Header]) -> asyncio.Future[None]:
        self.taken.append(headers)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


async def relayed(rows: int) -> list[Header]:
    """The headers of the first of so many rows that leave in one batch."""
    mongo = SimpleNamespace(clock=ManualClock(datetime(2026, 11, 20, tzinfo=UTC)), wakers=[])
    lease, broker = SimpleNamespace(held=lambda: True, left=lambda: 1.0), Broker()
    relay = Relay(cast("Any", mongo), "bulk", cast("Any", lease), lambda: broker)
    relay._producer = broker
    headers = [("traceparent", KEPT.encode())]
    batch = [
        {"_id": str(number), "topic": "t", "value": b"", "key": b"k", "headers": headers} for number in range(rows)
    ]
    assert await relay._produce(batch) == {}
    assert len(broker.taken) == rows
    return broker.taken[0]


@pytest.mark.parametrize("kept", [1.0], indirect=True)
@pytest.mark.parametrize(("rows", "hops"), [(64, 64), (65, 0)])
async def test_in_a_backlog_rows_have_no_span_of_their_own_and_the_reader_continues_the_requests_trace(
    kept: InMemorySpanExporter, rows: int, hops: int
) -> None:
    headers = await relayed(rows)
    with process_span("t", "g", headers):
        pass
    *sends, process = kept.get_finished_spans()
    assert [span.name for span in sends] == ["send t"] * hops
    assert process.context is not None
    assert process.parent is not None
    assert f"{process.context.trace_id:032x}" == KEPT.split("-")[1]
    origin = process.parent.span_id == int(KEPT.split("-")[2], 16)
    assert origin is (hops == 0), "of the row's own span, or of the request's"
