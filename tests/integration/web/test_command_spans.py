"""A request's span has its commands below it, by name; outside a sampled span there are none."""

from collections.abc import Iterator, Sequence

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.telemetry import commands, tracing
from tests.integration.web.world import World

MARKER = "Grace-Marker"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A provider of this test's own: the global one can be set only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (commands, tracing):
        monkeypatch.setattr(module, "_TRACER", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def named(found: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in found if span.name == name]


async def test_commands_are_children_of_the_request(world: World, spans: InMemorySpanExporter) -> None:
    assert (await world.make(label=MARKER)).status_code == 201
    found = spans.get_finished_spans()
    (server,) = named(found, "POST /v1/things")
    (insert,) = named(found, "insert things")
    assert server.context is not None
    assert insert.parent is not None
    assert insert.parent.span_id == server.context.span_id
    assert insert.context is not None
    assert insert.context.trace_id == server.context.trace_id
    assert dict(insert.attributes or {}) == {
        "db.system.name": "mongodb",
        "db.namespace": world.mongo.database.name,
        "db.collection.name": "things",
        "db.operation.name": "insert",
    }
    assert insert.start_time is not None
    assert insert.end_time is not None
    assert 0 < insert.end_time - insert.start_time < 5_000_000_000
    assert {span.name for span in found} == {"POST /v1/things", "insert things", "insert audit", "commitTransaction"}
    assert MARKER not in "".join(span.to_json() for span in found)


async def test_a_refused_command_says_its_code_and_not_its_text(world: World, spans: InMemorySpanExporter) -> None:
    await world.http.post(f"/v1/claims/{MARKER}")
    spans.clear()
    await world.http.post(f"/v1/claims/{MARKER}")
    failed = [span for span in spans.get_finished_spans() if span.status.status_code is StatusCode.ERROR]
    assert ("insert claims", "11000") in {(span.name, (span.attributes or {})["error.type"]) for span in failed}
    assert MARKER not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_request_tells_its_route_and_neither_path_nor_query(world: World, spans: InMemorySpanExporter) -> None:
    await world.http.post(f"/v1/claims/{MARKER}?note={MARKER}")
    await world.http.get(f"/v1/things?kind={MARKER}", headers={"Idempotency-Key": MARKER, "User-Agent": MARKER})
    told = [dict(span.attributes or {}) for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert told == [
        {"http.request.method": "POST", "http.route": "/v1/claims/{slot}", "http.response.status_code": 204},
        {"http.request.method": "GET", "http.route": "/v1/things", "http.response.status_code": 400},
    ]
    assert MARKER not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_without_a_span_nothing_is_made(world: World, spans: InMemorySpanExporter) -> None:
    await world.mongo.plumbing("things").find({})
    with trace.use_span(trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)):
        await world.mongo.plumbing("things").find({})
    assert spans.get_finished_spans() == ()


async def test_the_trace_of_a_caller_without_a_token_is_linked_and_not_continued(
    world: World, spans: InMemorySpanExporter
) -> None:
    """He might switch off our traces, or tie strangers' requests together."""
    theirs = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    await world.http.get("/v1/things", headers=theirs | {"Authorization": "Bearer n1"})
    assert spans.get_finished_spans() == (), "whoever has a token decides whether his trace is kept"
    for header, links in ((theirs, 1), ({"traceparent": "nonsense"}, 0)):
        anonymous = httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://things.test")
        async with anonymous:
            assert (await anonymous.post("/v1/form", headers=header)).status_code == 204
        (span,) = [span for span in named(spans.get_finished_spans(), "POST /v1/form") if span.parent is None][-1:]
        assert span.context is not None
        assert (len(span.links), f"{span.context.trace_id:032x}" == "a" * 32) == (links, False)
