"""An event becomes a row in the transaction of its cause; the relay sends it later, as often as needed."""

import json
import zlib

from bson import Binary

from shared.errors import Invalid
from shared.events.common import AlarmContentRefused
from shared.events.envelope import Envelope, Event, rfc3339
from shared.events.registry import REGISTRY, event_of
from shared.ids import new_id
from shared.messaging.topics import MAX_REQUEST_BYTES, Topic, topic_for
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import system_scope

OUTBOX = "outbox"
PENDING: Document = {
    "state": "pending",
    "lane": {"$in": ["alarm", "bulk"]},
}  # named, for the index begins with the lane
SLOTS = 64
LAST_ORDINAL = 9999
RECORD_OVERHEAD = 1024  # of the batch and record framing around key, value and headers


def emit(
    unit: UnitOfWork,
    event: Event,
    *,
    aggregate: str,
    version: int,
    key: str | None = None,
    ordinal: int | None = None,
) -> str:
    """Stage `event` of `aggregate` ("session/0190...") at `version`; returns the event's id.

    Key: the patient where there is one, else the aggregate's id. `ordinal` is given where an event
    comes last at its version. Raises Invalid when the record would pass the producer's size limit: found here, it fails
    the use case instead of the relay.
    """
    ordinal = ordinal or unit.next_ordinal(aggregate)
    partition_key = key or event.patient_id or aggregate.rpartition("/")[2]
    envelope = Envelope(
        id=new_id(),
        source=f"/stillwater/{event.SERVICE}/{aggregate}",
        type=event.event_type(),
        time=rfc3339(unit.clock.system_now()),
        clinic_id=unit.scope.clinic_id,
        partition_key=partition_key,
        sequence=f"{version:010d}.{ordinal:04d}",
        subject=aggregate,
        correlation_id=unit.scope.correlation_id,
        causation_id=unit.scope.causation_id,
        traceparent=unit.scope.traceparent,
    )
    value = event.model_dump_json(exclude_none=True).encode()
    _stage(unit, envelope, topic_for(type(event)), event.LANE, aggregate, value)
    return envelope.id


def replace_refused(unit: UnitOfWork, row: Document) -> None:
    """Instead of an alarm-lane row that the broker refused: a minimal event that names it, so that people look."""
    headers = {name: bytes(item).decode() for name, item in row["headers"]}
    refused = REGISTRY.get(headers.get("ce_type", ""))
    if refused is None or issubclass(refused, AlarmContentRefused):
        return
    event = event_of(refused.SERVICE, AlarmContentRefused)(
        patient_id=headers["ce_partitionkey"],
        refused_type=headers["ce_type"],
        aggregate=row["aggregate"],
        session_id=_session_of(row["value"]),
    )
    scope = system_scope(row["clinic_id"], "relay").traced(headers.get("ce_traceparent"))
    version = int(headers["ce_sequence"].partition(".")[0])
    emit(unit.under(scope), event, aggregate=row["aggregate"], version=version, ordinal=LAST_ORDINAL)


def _session_of(value: bytes) -> str | None:
    """Nobody knows what was refused, so it may be no event any more."""
    try:
        found = json.loads(value).get("session_id")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def emit_tombstone(unit: UnitOfWork, record: type[Event], key: str, *, aggregate: str, version: int) -> None:
    """Erase `key` from a compacted topic: a record without a value."""
    envelope = Envelope(
        id=new_id(),
        source=f"/stillwater/{record.SERVICE}/{aggregate}",
        type=record.event_type(),
        time=rfc3339(unit.clock.system_now()),
        clinic_id=unit.scope.clinic_id,
        partition_key=key,
        sequence=f"{version:010d}.{unit.next_ordinal(aggregate):04d}",
        traceparent=unit.scope.traceparent,
    )
    _stage(unit, envelope, topic_for(record), record.LANE, aggregate, None)


async def forget_rows(unit: UnitOfWork, subject_id: str) -> None:
    """Whatever of the subject was sent to a restricted topic or waits for it."""
    await unit.plumbing(OUTBOX).delete({"subject_id": subject_id})


def _stage(unit: UnitOfWork, envelope: Envelope, topic: Topic, lane: str, aggregate: str, value: bytes | None) -> None:
    key, headers = envelope.partition_key.encode(), envelope.headers()
    size = len(key) + len(value or b"") + sum(len(name) + len(item) for name, item in headers)
    if size + RECORD_OVERHEAD > MAX_REQUEST_BYTES:
        raise Invalid("the event would be larger than a record may be")
    row: Document = {
        "_id": envelope.id,
        "clinic_id": envelope.clinic_id,
        "schema_version": 1,
        "state": "pending",
        "lane": lane,
        "topic": topic.name,
        "key": Binary(key),
        "slot": zlib.crc32(key) % SLOTS,
        "aggregate": aggregate,
        "sequence": envelope.sequence,
        "headers": [[name, Binary(item)] for name, item in headers],
        "value": None if value is None else Binary(value),
        "created_at": unit.clock.system_now(),
        "sent_at": None,
    }
    unit.stage(OUTBOX, row | ({"subject_id": envelope.partition_key} if topic.compacted else {}))
