"""CloudEvents, Kafka binding (interop.md section 1)."""

import json

import pytest
from pydantic import ValidationError

from shared.events.envelope import BadRecord, Envelope, read_record
from shared.events.intake import InquiryReceived
from shared.events.registry import EVENTS
from shared.events.scheduling import AppointmentBooked, AppointmentCancelled, ReminderDue, ResourceRef

ENVELOPE = Envelope(
    "1", "/stillwater/intake/inquiry/x", InquiryReceived.event_type(), "2026-01-01T00:00:00.000Z", "c", "x"
)


def test_binary_mode_gives_back_what_was_written() -> None:
    assert read_record(ENVELOPE.headers(), b"{}") == (ENVELOPE, b"{}")


def test_content_type_decides_the_mode_even_beside_ce_headers() -> None:
    attributes = {"id": "2", "source": "/s", "specversion": "1.0", "type": "t", "time": "now", "clinicid": "c"}
    whole = {**attributes, "partitionkey": "k", "data": {"a": 1}}
    headers = [*ENVELOPE.headers(), ("content-type", b"x")]
    headers = [(n, v) for n, v in headers if n != "content-type"] + [("content-type", b"Application/CloudEvents+JSON")]
    envelope, data = read_record(headers, json.dumps(whole).encode())
    assert envelope.id == "2"
    assert json.loads(data or b"") == {"a": 1}


@pytest.mark.parametrize(
    "name", ["ce_id", "ce_source", "ce_type", "ce_specversion", "ce_clinicid", "ce_time", "ce_partitionkey"]
)
def test_a_missing_attribute_is_a_bad_record(name: str) -> None:
    headers = [(header, value) for header, value in ENVELOPE.headers() if header != name]
    with pytest.raises(BadRecord, match="attribute_missing"):
        read_record(headers, b"{}")


def test_another_version_of_the_envelope_is_a_bad_record_in_either_mode() -> None:
    later = [(name, b"2.0" if name == "ce_specversion" else value) for name, value in ENVELOPE.headers()]
    whole: dict[str, object] = {name.removeprefix("ce_"): value.decode() for name, value in later} | {"data": {}}
    structured = [("content-type", b"application/cloudevents+json")]
    for headers, value in ((later, b"{}"), (structured, json.dumps(whole).encode())):
        with pytest.raises(BadRecord, match="specversion_unknown"):
            read_record(headers, value)


def test_no_data_is_a_tombstone() -> None:
    assert read_record(ENVELOPE.headers(), None)[1] is None


def test_headers_that_are_not_utf8_are_a_bad_record() -> None:
    with pytest.raises(BadRecord, match="headers_not_utf8"):
        read_record([("ce_id", b"\xff")], b"{}")


def test_a_reader_ignores_fields_of_the_future() -> None:
    value = b'{"inquiry_id": "1", "channel": "phone", "invented_later": true}'
    assert InquiryReceived.read(value).inquiry_id == "1"


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{", b'{"inquiry_id": 5}', b"\xff"])
def test_a_payload_of_the_wrong_shape_is_a_bad_record(value: bytes) -> None:
    with pytest.raises(BadRecord, match="payload_invalid"):
        InquiryReceived.read(value)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_may_be_absent_has_a_default(event: type) -> None:
    """Nulls are not written, so a field that may be null must be readable when it is missing."""
    for field in event.model_fields.values():  # type: ignore[attr-defined]
        assert not (field.is_required() and type(None) in getattr(field.annotation, "__args__", ()))


BOOKED = {
    "patient_id": "p",
    "appointment_id": "a",
    "kind": "dosing",
    "mode": "in_person",
    "start": "2026-01-01T10:00:00Z",
    "end": "2026-01-01T12:00:00Z",
    "time_zone": "UTC",
    "resources": [{"id": "r", "kind": "room", "label": "1"}],
}


def read_booked(**changed: object) -> AppointmentBooked:
    return AppointmentBooked.read(json.dumps(BOOKED | changed).encode())


def test_a_reader_ignores_fields_of_the_future_inside_a_part() -> None:
    read = read_booked(resources=[{"id": "r", "kind": "room", "label": "1", "invented_later": 1}])
    assert read.resources == [ResourceRef(id="r", kind="room", label="1")]


def test_a_code_of_the_future_is_read_as_unknown() -> None:
    read = read_booked(kind="sound_bath", resources=[{"id": "r", "kind": "garden", "label": "1"}])
    assert (read.kind, read.mode, read.resources[0].kind) == ("unknown", "in_person", "unknown")


def test_only_the_new_codes_of_a_list_become_unknown() -> None:
    event = {"patient_id": "p", "appointment_id": "a", "stage": "s", "start": "2026-01-01T10:00:00Z"}
    value = json.dumps(event | {"missing_checks": ["sober", "fasting", "shoes"]}).encode()
    assert list(ReminderDue.read(value).missing_checks) == ["unknown", "fasting", "unknown"]


def test_a_code_that_may_be_absent_is_read_as_unknown_too() -> None:
    read = AppointmentCancelled.read(json.dumps(BOOKED | {"reason_code": "flood"}).encode())
    assert str(read.reason_code) == "unknown"


@pytest.mark.parametrize(
    "wrong", [{"kind": 5}, {"kind": None}, {"kind": ["dosing"]}, {"start": "soon"}, {"resources": [{"kind": "garden"}]}]
)
def test_a_wrong_shape_is_not_a_new_code(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRecord, match="payload_invalid"):
        read_booked(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "sound_bath"},
        {"kind": "unknown"},
        {"invented_later": 1},
        {"resources": [{"id": "r", "kind": "garden", "label": "1"}]},
        {"resources": [{"id": "r", "kind": "room", "label": "1", "invented_later": 1}]},
    ],
)
def test_a_producer_is_held_to_its_schema(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AppointmentBooked.model_validate(BOOKED | wrong)
