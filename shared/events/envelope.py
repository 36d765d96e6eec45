"""CloudEvents 1.0 in Kafka's binary mode (binding: interop.md section 1; why our own: ADR 3)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

Header = tuple[str, bytes]
RawHeader = tuple[str, bytes | None]  # as Kafka hands it over
Lane = Literal["bulk", "alarm"]
_REQUIRED = ("id", "source", "specversion", "type", "time", "clinicid", "partitionkey")
_READING = object()
UNKNOWN = "unknown"
E = TypeVar("E", bound="Event")


class BadRecord(Exception):
    """A record that is not one of our events; `code` says why and holds no data of it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Part(BaseModel):
    """A piece of an event, or a whole one. Closed for writing; what `Event.read` reads is open for the future:
    an unknown field is ignored, an unknown code of a Literal field becomes "unknown".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="wrap")
    @classmethod
    def _tolerate(cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            if info.context is not _READING or not all(_is_new_code(fault) for fault in error.errors()):
                raise
            places = {fault["loc"] for fault in error.errors()}
            if places == {()}:
                return UNKNOWN
            if not isinstance(value, list) or any(len(place) != 1 for place in places):
                raise
            known = iter(validate([item for number, item in enumerate(value) if (number,) not in places]))
            return [UNKNOWN if (number,) in places else next(known) for number in range(len(value))]


def _is_new_code(fault: Any) -> bool:
    return fault["type"] == "literal_error" and isinstance(fault["input"], str)


class Event(Part):
    """Base of the published language: ids, codes, numbers and times; no name, no contact, no free text."""

    SERVICE: ClassVar[str]
    LANE: ClassVar[Lane] = "bulk"

    patient_id: str | None = None

    @classmethod
    def event_type(cls) -> str:
        return f"org.stillwater.{cls.SERVICE}.{cls.__name__}.v1"

    @classmethod
    def read(cls, value: bytes) -> Self:
        """Tolerant, as `Part` says. Raises BadRecord("payload_invalid") when a known field has a wrong shape."""
        try:
            return cls.model_validate_json(value, extra="ignore", context=_READING)
        except ValidationError:
            raise BadRecord("payload_invalid") from None


@dataclass(frozen=True)
class Envelope:
    """The context attributes of one event."""

    id: str
    source: str
    type: str
    time: str
    clinic_id: str
    partition_key: str
    sequence: str = ""
    subject: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    def headers(self) -> list[Header]:
        optional = {
            "ce_subject": self.subject,
            "ce_sequence": self.sequence or None,
            "ce_correlationid": self.correlation_id,
            "ce_causationid": self.causation_id,
            "ce_traceparent": self.traceparent,
            "traceparent": self.traceparent,
        }
        named = {
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_source": self.source,
            "ce_type": self.type,
            "ce_time": self.time,
            "ce_clinicid": self.clinic_id,
            "ce_partitionkey": self.partition_key,
            "content-type": "application/json",
        }
        present = named | {name: text for name, text in optional.items() if text}
        return [(name, text.encode()) for name, text in present.items()]


def read_record(headers: Sequence[RawHeader], value: bytes | None) -> tuple[Envelope, bytes | None]:
    """The envelope and the data of a record, in binary or structured mode, told apart by `content-type`.

    Raises BadRecord: `headers_invalid` (Kafka allows a header without a value), `headers_not_utf8`, `envelope_invalid`,
    `attribute_missing`, `specversion_unknown`.
    """
    try:
        texts = {name: _text(item) for name, item in reversed(headers)}
    except UnicodeDecodeError:
        raise BadRecord("headers_not_utf8") from None
    if texts.get("content-type", "").lower().startswith("application/cloudevents"):
        return _structured(value)
    attributes = {name[3:]: text for name, text in texts.items() if name.startswith("ce_")}
    return _envelope(attributes), value


def _text(item: bytes | None) -> str:
    if item is None:
        raise BadRecord("headers_invalid")
    return item.decode()


def _structured(value: bytes | None) -> tuple[Envelope, bytes | None]:
    try:
        whole: dict[str, Any] = json.loads(value or b"")
        data = whole.pop("data", None)
        attributes = {name: str(item) for name, item in whole.items() if item is not None}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise BadRecord("envelope_invalid") from None
    return _envelope(attributes), None if data is None else json.dumps(data).encode()


def _envelope(attributes: dict[str, str]) -> Envelope:
    if any(not attributes.get(name) for name in _REQUIRED):
        raise BadRecord("attribute_missing")
    if attributes["specversion"] != "1.0":
        raise BadRecord("specversion_unknown")
    return Envelope(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=attributes["time"],
        clinic_id=attributes["clinicid"],
        partition_key=attributes["partitionkey"],
        sequence=attributes.get("sequence", ""),
        subject=attributes.get("subject"),
        correlation_id=attributes.get("correlationid"),
        causation_id=attributes.get("causationid"),
        traceparent=attributes.get("traceparent"),
    )


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
