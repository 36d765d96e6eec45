"""Structured JSON logs: an event name and allow-listed fields. Free text of libraries is dropped, it may hold values."""

import json
import logging
import sys
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import get_current

FIELDS = frozenset({"code", "error", "group", "topic", "lane", "task", "kind", "event_id", "port", "count", "channel"})
FIELDS |= {"wanted", "found"}
_OURS = ("shared", "services", "__main__")


def facts_of(record: logging.LogRecord) -> dict[str, str]:
    """The event's name as `event`, and what may be told beside it; the same in every form a log takes."""
    ours = record.name.startswith(_OURS)
    row = {"event": str(record.msg) if ours else "library"}
    row |= {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
    if record.exc_info and record.exc_info[0]:
        row["error"] = record.exc_info[0].__name__
    return row


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        row = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            **facts_of(record),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            row |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        return json.dumps(row)


def _severity(level: int) -> SeverityNumber:
    """Python counts its five levels in tens, OpenTelemetry its own in fours from DEBUG = 5 (Logs Data Model, severity fields)."""
    return SeverityNumber(min(max(level // 10, 1), 5) * 4 + 1)


class OtlpHandler(logging.Handler):
    """The SDK's own handler tells messages and exceptions as they are; this one tells no more than the JSON does."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("opentelemetry"):
            return  # what it says of an export that failed would be the next export
        facts = facts_of(record)
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=get_current(),
                severity_text=record.levelname,
                severity_number=_severity(record.levelno),
                body=facts.pop("event"),
                attributes={"logger.name": record.name, **facts},
            )
        )


def set_up_logs(service: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("aiokafka", "httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
