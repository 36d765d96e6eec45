"""Spans of the store's commands below the request or handler that sent them: names and times, never a value (interop.md 7)."""

import time
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared.telemetry.attributes import Attributes, plain

_TRACER: Final = trace.get_tracer("stillwater")


class CommandSpans(CommandListener):
    """Nothing is made where nothing records: commands outside a sampled span cost one look.

    The driver calls from a thread of its own, in the context of the coroutine that waits, and in the same one for the
    start and the end of a command.
    """

    def __init__(self) -> None:
        self._collections: dict[int, str | None] = {}

    def started(self, event: CommandStartedEvent) -> None:
        if trace.get_current_span().is_recording():
            name = event.command.get(event.command_name)
            if event.command_name == "getMore":
                name = event.command.get("collection")
            self._collections[event.request_id] = name if isinstance(name, str) else None

    def succeeded(self, event: CommandSucceededEvent) -> None:
        refused = event.reply.get("writeErrors")
        self._ended(event, str(refused[0]["code"]) if refused else None)

    def failed(self, event: CommandFailedEvent) -> None:
        self._ended(event, str(event.failure.get("code", "unreached")))

    def _ended(self, event: CommandSucceededEvent | CommandFailedEvent, code: str | None) -> None:
        """`code` is the server's number: its text quotes what was written."""
        if event.request_id not in self._collections:
            return
        collection = self._collections.pop(event.request_id)
        attributes: Attributes = {
            "db.system.name": "mongodb",
            "db.namespace": event.database_name,
            "db.operation.name": event.command_name,
        }
        if collection:
            attributes["db.collection.name"] = collection
        if code:
            attributes |= {"db.response.status_code": code, "error.type": code}
        end = time.time_ns()
        name = f"{event.command_name} {collection}" if collection else event.command_name
        span = _TRACER.start_span(
            name, kind=SpanKind.CLIENT, attributes=plain(attributes), start_time=end - event.duration_micros * 1000
        )
        if code:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)
