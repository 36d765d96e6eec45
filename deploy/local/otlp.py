"""An OTLP receiver that keeps what came: spans and logs newest last, of each metric its last figure."""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KEEP = 50_000


class Received:
    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.metrics: dict[tuple[str, str, str], dict[str, Any]] = {}

    def take_spans(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _service(resource)
            self.spans += [_span(service, span) for scope in resource.scope_spans for span in scope.spans]
        del self.spans[:-KEEP]

    def take_logs(self, body: bytes) -> None:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            service = _service(resource)
            self.logs += [_log(service, row) for scope in resource.scope_logs for row in scope.log_records]
        del self.logs[:-KEEP]

    def take_metrics(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            service = _service(resource)
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for row in _points(service, metric):
                    self.metrics[service, metric.name, str(row["attributes"])] = row


def otlp_router(received: Received) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/{signal}")
    async def take(signal: Literal["traces", "logs", "metrics"], request: Request) -> Response:
        takers = {"traces": received.take_spans, "logs": received.take_logs, "metrics": received.take_metrics}
        takers[signal](await request.body())
        return Response(media_type="application/x-protobuf")

    @router.get("/spans")
    async def spans(trace_id: str | None = None) -> list[dict[str, Any]]:
        return [row for row in received.spans if trace_id in (None, row["trace_id"])]

    @router.get("/logs")
    async def logs(trace_id: str | None = None) -> list[dict[str, Any]]:
        return [row for row in received.logs if trace_id in (None, row["trace_id"])]

    @router.get("/metrics")
    async def metrics(name: str | None = None) -> list[dict[str, Any]]:
        return [row for row in received.metrics.values() if name in (None, row["name"])]

    return router


def _service(resource: Any) -> str:
    return str(_attributes(resource.resource).get("service.name", ""))


def _attributes(holder: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in holder.attributes}


def _span(service: str, span: Any) -> dict[str, Any]:
    return {
        "service": service,
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex(),
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "attributes": _attributes(span),
    }


def _log(service: str, row: Any) -> dict[str, Any]:
    return {
        "service": service,
        "event": row.body.string_value,
        "severity": row.severity_text,
        "trace_id": row.trace_id.hex(),
        "at_ns": row.time_unix_nano,
        "attributes": _attributes(row),
    }


def _points(service: str, metric: Any) -> Iterator[dict[str, Any]]:
    for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points:
        value = point.as_double if point.HasField("as_double") else point.as_int
        yield {"service": service, "name": metric.name, "attributes": _attributes(point), "value": value}
