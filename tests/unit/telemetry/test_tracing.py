"""Which traces are kept, what a span says of an error, and which rows of a backlog have one (ADR 8)."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pymongo.errors import DuplicateKeyError

from shared.clock import ManualClock
from shared.messaging.relay import Relay
from shared.telemetry import commands, tracing
from shared.telemetry.attributes import DECLARED
from shared.telemetry.commands import command_span
from shared.telemetry.logs import JsonFormatter
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
from tests.unit.test_settings import GOOD, ROOT

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


def a_command_fails() -> None:
    with command_span("insert", "intake", "things"):
        raise DuplicateKeyError(NAME, 11000)


@pytest.mark.parametrize("kept", [1.0], indirect=True)
def test_every_span_says_what_is_declared_and_no_more(
    kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the route and the status, which the answer adds."""
    monkeypatch.setattr(commands, "_TRACER", tracing._TRACER)
    for begin in SPANS.values():
        with pytest.raises(DuplicateKeyError, match=NAME), begin():
            a_command_fails()
    found = {name for span in kept.get_finished_spans() for name in span.attributes or {}}
    assert found == DECLARED - {"http.route", "http.response.status_code"}
    assert NAME not in "".join(span.to_json() for span in kept.get_finished_spans())


BEGIN = """
import asyncio
from services.intake.wiring import SERVICE
from shared import cli
from shared.telemetry.tracing import current_traceparent, request_span

async def begin(*_):
    kept = 0
    for _ in range(4000):
        with request_span("POST", None):
            kept += int(current_traceparent()[-2:], 16) & 1
    print(kept / 4000)

cli._start = begin
cli._run_role(SERVICE, "all")
"""


@pytest.mark.parametrize(("given", "share"), [({}, 0.05), ({"INTAKE_TRACE_RATIO": "0.5"}, 0.5)])
def test_the_share_that_is_set_is_the_share_that_is_kept(given: dict[str, str], share: float) -> None:
    """In a process of its own: the provider is global."""
    environment = {f"INTAKE_{name}": text for name, text in GOOD.items()} | given
    command = [sys.executable, "-c", BEGIN]
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(share, abs=0.04)


INSIDE: dict[str, Callable[[str], contextlib.AbstractContextManager[object]]] = {
    "a request": lambda origin: request_span("POST", origin),
    "a handled event": lambda origin: process_span("topic", "group", [("traceparent", origin.encode())]),
}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("kept", [0.0], indirect=True)
@pytest.mark.parametrize("origin", [KEPT, f"{KEPT[:-2]}00"], ids=["kept", "not kept"])
@pytest.mark.parametrize("begin", INSIDE.values(), ids=list(INSIDE))
def test_a_log_line_names_the_trace_and_the_span_it_was_written_in(
    begin: Callable[[str], contextlib.AbstractContextManager[object]], origin: str
) -> None:
    row = logging.makeLogRecord({"name": "shared.test", "msg": "told", "patient": NAME, "args": (NAME,)})
    outside = json.loads(JsonFormatter("intake").format(row))
    with begin(origin):
        text = JsonFormatter("intake").format(row)
        _, trace_id, span_id, _ = (current_traceparent() or "").split("-")
    told = json.loads(text)
    assert (told["trace_id"], told["span_id"]) == (trace_id, span_id)
    assert trace_id == KEPT.split("-")[1]
    assert not {"trace_id", "span_id"} & set(outside)
    assert NAME not in text


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
