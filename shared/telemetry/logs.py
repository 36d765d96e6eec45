"""Structured JSON logs: an event name and allow-listed fields. Free text of libraries is dropped, it may hold values."""

import json
import logging
import sys
from datetime import UTC, datetime

from opentelemetry import trace

FIELDS = frozenset({"code", "error", "group", "topic", "lane", "task", "kind", "event_id", "port", "count", "channel"})
FIELDS |= {"wanted", "found"}
_OURS = ("shared", "services", "__main__")


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith(_OURS)
        row = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": record.msg if ours else "library",
        }
        row |= {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0]:
            row["error"] = record.exc_info[0].__name__
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            row |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        return json.dumps(row)


def set_up_logs(service: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("aiokafka", "httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
