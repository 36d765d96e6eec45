"""Spans of the store's commands below the request or handler that sent them: names and times, never a value (interop.md 7)."""

import contextlib
from collections.abc import Iterator
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from shared.telemetry.attributes import Attributes, plain

_TRACER: Final = trace.get_tracer("stillwater")
_NONE: Final = contextlib.nullcontext()


def command_span(operation: str, database: str, collection: str | None) -> contextlib.AbstractContextManager[None]:
    """Nothing is made where nothing records: commands outside a sampled span cost one look.

    The driver's own events would tell the same, and cost a tenth of a creating request whether a span is kept or not.
    """
    if not trace.get_current_span().is_recording():
        return _NONE
    return _recorded(operation, database, collection)


@contextlib.contextmanager
def _recorded(operation: str, database: str, collection: str | None) -> Iterator[None]:
    attributes: Attributes = {"db.system.name": "mongodb", "db.namespace": database, "db.operation.name": operation}
    if collection:
        attributes["db.collection.name"] = collection
    name = f"{operation} {collection}" if collection else operation
    with _TRACER.start_as_current_span(
        name, None, SpanKind.CLIENT, plain(attributes), record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except PyMongoError as error:
            span.set_status(trace.StatusCode.ERROR)
            span.set_attributes({"db.response.status_code": _code(error), "error.type": _code(error)})
            raise


def _code(error: PyMongoError) -> str:
    """The server's number: its text quotes what was written."""
    if isinstance(error, BulkWriteError):
        return str(error.details["writeErrors"][0]["code"]) if error.details.get("writeErrors") else "unreached"
    return str(error.code) if isinstance(error, OperationFailure) and error.code else "unreached"
