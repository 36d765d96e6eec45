"""What leaves over OTLP is what the JSON log and `/metrics` say, and no more."""

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from shared.telemetry.logs import JsonFormatter, OtlpHandler
from shared.telemetry.metrics import DECLARED
from shared.telemetry.otlp import _LAST_SECONDS, observe

NAME = "Rosa Lindqvist"


@pytest.fixture
def left() -> Iterator[tuple[OtlpHandler, InMemoryLogRecordExporter]]:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    yield OtlpHandler(provider.get_logger("test")), exporter
    provider.shutdown()


def record(logger: str, level: int, message: str, *args: object, **extra: object) -> logging.LogRecord:
    try:
        raise ValueError(NAME)
    except ValueError:
        return logging.getLogger(logger).makeRecord(
            logger, level, "file.py", 1, message, args, sys.exc_info(), extra=extra
        )


@pytest.mark.parametrize(("logger", "event"), [("shared.loops", "task died"), ("aiosmtplib", "library")])
def test_a_log_row_tells_the_same_in_both_forms(
    left: tuple[OtlpHandler, InMemoryLogRecordExporter], logger: str, event: str
) -> None:
    handler, exporter = left
    row = record(logger, logging.ERROR, "task died" if event != "library" else f"to {NAME}", task="relay", patient=NAME)
    handler.emit(row)
    told = exporter.get_finished_logs()[0].log_record
    assert (told.body, told.severity_number) == (event, SeverityNumber.ERROR)
    assert dict(told.attributes or {}) == {"logger.name": logger, "task": "relay", "error": "ValueError"}
    assert NAME not in json.dumps(json.loads(JsonFormatter("intake").format(row)))


def test_an_export_that_failed_is_no_export_of_its_own(left: tuple[OtlpHandler, InMemoryLogRecordExporter]) -> None:
    handler, exporter = left
    handler.emit(record("opentelemetry.exporter.otlp", logging.WARNING, "refused"))
    assert exporter.get_finished_logs() == ()


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, SeverityNumber.DEBUG),
        (logging.INFO, SeverityNumber.INFO),
        (logging.WARNING, SeverityNumber.WARN),
        (logging.ERROR, SeverityNumber.ERROR),
        (logging.CRITICAL, SeverityNumber.FATAL),
        (5, SeverityNumber.DEBUG),
    ],
)
def test_levels_are_the_protocols(
    left: tuple[OtlpHandler, InMemoryLogRecordExporter], level: int, severity: SeverityNumber
) -> None:
    handler, exporter = left
    handler.emit(record("shared.loops", level, "told"))
    assert exporter.get_finished_logs()[0].log_record.severity_number == severity


def test_counters_and_gauges_are_read_at_each_export() -> None:
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    sent = Counter("test_sent", "Sent", ["lane"], registry=registry)
    waiting = Gauge("test_waiting", "Waiting", registry=registry)
    provider = MeterProvider([reader])
    observe(provider.get_meter("test"), [sent, waiting])
    found = []
    for count in (2, 3):
        sent.labels("alarm").inc(count)
        waiting.set(count)
        found.append(figures(reader))
    assert found == [
        {("test_sent", "alarm"): 2, ("test_waiting", None): 2},
        {("test_sent", "alarm"): 5, ("test_waiting", None): 3},
    ]
    provider.shutdown()


def test_every_figure_of_ours_at_metrics_is_declared() -> None:
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("stillwater_")}
    assert ours == {family.name for metric in DECLARED for family in metric.collect()}


def test_a_receiver_that_never_answers_holds_up_no_end() -> None:
    """In a process of its own: providers are global, and what is asked is whether the process ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        code = f"from shared.telemetry.otlp import set_up; set_up('intake', 'http://127.0.0.1:{silent.getsockname()[1]}')()"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        assert time.monotonic() - begun < _LAST_SECONDS + 5


def figures(reader: InMemoryMetricReader) -> dict[tuple[str, object], float]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, (point.attributes or {}).get("lane")): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }
