"""Spans, metrics and logs over OTLP (architecture.md 6). `metrics.py` and `logs.py` say what there is; this only carries it."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from threading import Thread

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter, Gauge
from prometheus_client.registry import Collector

from shared.telemetry.logs import OtlpHandler
from shared.telemetry.metrics import DECLARED
from shared.telemetry.tracing import Share

_METRICS_MS = 5_000
_BATCH_MS = 500
_TIMEOUT = 10
_LAST_SECONDS = 3.0
"""In which what is left is sent at the end; then it is lost, as it is to any receiver that is away."""


def set_up(service: str, endpoint: str | None, ratio: float = 1.0) -> Callable[[], None]:
    """Call once at start, after `set_up_logs`; what it returns sends what is left, and ends.

    `ratio` is the share of requests whose trace is kept. Without an endpoint spans are made and dropped, and nothing is sent.
    """
    resource = Resource.create({"service.name": service, "service.namespace": "stillwater"})
    spans = TracerProvider(Share(ratio), resource, shutdown_on_exit=False)
    trace.set_tracer_provider(spans)
    if endpoint is None:
        return partial(_end, [spans])
    base = endpoint.rstrip("/")
    exporter = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=_TIMEOUT)
    spans.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_BATCH_MS))
    return partial(_end, [spans, _metrics(resource, base), _logs(resource, base)])


def _end(providers: Sequence[TracerProvider | MeterProvider | LoggerProvider]) -> None:
    """A receiver that is away would hold each of them for its retries, one after the other: no drain waits for that."""
    ending = [Thread(target=provider.shutdown, daemon=True) for provider in providers]
    for thread in ending:
        thread.start()
    deadline = time.monotonic() + _LAST_SECONDS
    for thread in ending:
        thread.join(max(0.0, deadline - time.monotonic()))


def _logs(resource: Resource, base: str) -> LoggerProvider:
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    exporter = OTLPLogExporter(endpoint=f"{base}/v1/logs", timeout=_TIMEOUT)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=_BATCH_MS))
    logging.getLogger().addHandler(OtlpHandler(provider.get_logger("stillwater")))
    return provider


def _metrics(resource: Resource, base: str) -> MeterProvider:
    exporter = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=_TIMEOUT)
    reader = PeriodicExportingMetricReader(exporter, _METRICS_MS)
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    observe(provider.get_meter("stillwater"), DECLARED)
    return provider


def observe(meter: Meter, declared: Iterable[Counter | Gauge]) -> None:
    """What `/metrics` says, read at each export: a figure has one home."""
    for metric in declared:
        family = next(iter(metric.collect()))
        counts = isinstance(metric, Counter)
        make = meter.create_observable_counter if counts else meter.create_observable_gauge
        sample = f"{family.name}_total" if counts else family.name
        make(family.name, [_reader(metric, sample)], description=family.documentation)


def _reader(metric: Collector, sample: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        for family in metric.collect():
            for row in family.samples:
                if row.name == sample:
                    yield Observation(row.value, row.labels)

    return read
