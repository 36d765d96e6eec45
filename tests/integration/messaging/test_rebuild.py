"""Every projection that a State event feeds: dropped, republished by its owner, whole again, and nothing else happened."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.stack import Stack
from services.intake.republish import REPUBLISH as INTAKE
from services.monitoring.republish import REPUBLISH as MONITORING
from services.scheduling.republish import REPUBLISH as SCHEDULING
from shared.messaging.topics import SERVICES
from tests.integration.intake.test_people import PROFILE
from tests.integration.intake.test_records import APPROVAL, CONSENT, ENROLLED, FINDING, SUMMARY
from tests.integration.intake.world import World
from tests.support.eventually import eventually

Place = tuple[str, str, str | None]


@dataclass(frozen=True)
class Projection:
    """What `consumer` keeps of the State events `of`: one document, and the fields of it that come from them.

    `kind`: where a collection keeps several kinds.
    """

    of: str
    consumer: str
    collection: str
    fields: tuple[str, ...]
    kind: str | None = None

    @property
    def place(self) -> Place:
        return self.consumer, self.collection, self.kind


PROJECTIONS = [
    Projection("PlanState", "monitoring", "plans", ("patient_id", "version", "dose_mg_per_kg", "route", "state")),
    Projection(
        "PlanState", "scheduling", "courses", ("patient_id", "route", "session_count", "min_gap_hours", "status")
    ),
    Projection("PatientState", "scheduling", "patients", ("time_zone", "erased")),
    Projection("ConsentState", "scheduling", "patients", ("consents",)),
    Projection("RiskState", "scheduling", "patients", ("risk",)),
    Projection("ClinicChanged", "scheduling", "clinic", ("time_zone",)),
    *(
        Projection(event, "monitoring", "known", ("facts",), kind)
        for event, kind in (
            ("ConsentState", "consent"),
            ("EligibilityState", "eligibility"),
            ("RiskState", "risk"),
            ("ClinicalSummaryChanged", "summary"),
            ("RemsEnrolmentChanged", "rems"),
            ("ClinicChanged", "clinic"),
            ("StaffState", "staff"),
            ("AppointmentState", "readiness"),
        )
    ),
    Projection("AppointmentState", "notifications", "appointments", ("start", "end", "time_zone", "cancelled")),
    Projection("StaffState", "notifications", "staff", ("staff_id", "roles")),
    Projection("SessionState", "notifications", "sessions", ("room", "chair", "responsible")),
]
KEEPS_NOTHING = {("SessionState", "scheduling")}  # a void takes back an arrival in an appointment that is its own
STATE_EVENTS = [*INTAKE, *SCHEDULING, *MONITORING]
DROPPED = tuple({row.place for row in PROJECTIONS})
ACTIONS = [
    *(("notifications", name) for name in ("messages", "escalations", "tasks")),
    *(("scheduling", name) for name in ("appointments", "outbox", "timers")),
    *(("monitoring", name) for name in ("sessions", "outbox")),
    ("notifications", "outbox"),
]


class Clinic:
    """A clinic with one of everything, and what the stores hold of it."""

    def __init__(self, world: World, client: MongoClient[Any]) -> None:
        self.world, self._client = world, client
        self.before: dict[Place, Any] = {}
        self.acted: dict[tuple[str, str], int] = {}
        self.acted_after: dict[tuple[str, str], int] = {}

    def row(self, place: Place) -> Any:
        consumer, collection, kind = place
        query = {"clinic_id": self.world.clinic} | ({"kind": kind} if kind else {})
        return self._client[consumer][collection].find_one(query)

    def counted(self) -> dict[tuple[str, str], int]:
        """Without what `republish` itself writes."""
        told = {"clinic_id": self.world.clinic, "sequence": {"$not": {"$regex": r"\.9999$"}}}
        return {(service, name): self._client[service][name].count_documents(told) for service, name in ACTIONS}

    def whole(self) -> bool:
        """Each projection is there, the patient's with what three kinds of event say of it."""
        rows = {place: self.row(place) for place in DROPPED}
        if not all(rows.values()):
            return False
        patient, course = rows["scheduling", "patients", None], rows["scheduling", "courses", None]
        return bool(patient["consents"] and patient["risk"]["held"] and patient["time_zone"] and course["known"])

    async def settled(self) -> None:
        """Everything was told to everybody; nothing waits in an outbox, and no message is on its way."""

        async def look() -> bool:
            waiting = {"clinic_id": self.world.clinic, "state": "pending"}
            rows = [self._client["notifications"].messages, *(self._client[name].outbox for name in SERVICES)]
            return self.whole() and not any(row.count_documents(waiting) for row in rows)

        await eventually(look, 30)

    def drop(self) -> None:
        self.before, self.acted = {place: self.row(place) for place in DROPPED}, self.counted()
        for consumer, collection, _ in DROPPED:
            self._client[consumer][collection].delete_many({"clinic_id": self.world.clinic})


async def _fill(world: World) -> str:
    """One document for every State event; the session's path, for its end."""
    await world.register()
    await world.call("medical_director", "PUT", "/v1/clinic", PROFILE, version=0)
    await world.call("nurse", "POST", "{p}/consents", CONSENT)
    await world.call("nurse", "POST", "{p}/risk/flag", FINDING)
    await world.call("prescriber", "POST", "{p}/eligibility", APPROVAL)
    await world.call("nurse", "PUT", "{p}/clinical-summary", SUMMARY, version=0)
    await world.call("nurse", "PUT", "{p}/rems-enrolment", ENROLLED, version=0)
    await world.plan()
    booking, bedside = (world.stack.url(name) for name in ("scheduling", "monitoring"))
    staff = {"staff_id": f"nurse-{world.clinic}", "roles": ["nurse"]}
    await world.call("medical_director", "POST", f"{booking}/v1/staff", staff)
    room = await world.call("front_desk", "POST", f"{booking}/v1/resources", {"kind": "room", "label": "R 1"})
    visit = {"patient_id": world.patient, "kind": "consultation", "resources": [room["id"]]}
    hours = timedelta(days=3).total_seconds()
    visit |= {"start": world.soon(hours), "end": world.soon(hours + 3600)}
    booked = await world.call("front_desk", "POST", f"{booking}/v1/appointments", visit)
    ready = {"checks": [{"check": "escort", "ok": True}]}
    await world.call("front_desk", "POST", f"{booking}/v1/appointments/{booked['id']}/readiness", ready, version=1)
    session = await world.call("nurse", "POST", f"{bedside}/v1/sessions", {"patient_id": world.patient})
    path = f"{bedside}/v1/sessions/{session['id']}"
    arrival: dict[str, Any] = {"identity_confirmed": True, "display_label": "A", "room": "R 1", "chair": "2"}
    arrival["responsible_staff"] = [{"role": "nurse", "staff_id": staff["staff_id"]}]
    arrival["readiness"] = {"fasting": True, "escort_named": True, "well_today": True}
    await world.call("nurse", "POST", f"{path}/check-in", arrival)
    return path


def republish(stack: Stack, service: str, clinic: str) -> None:
    command = [sys.executable, "-m", f"services.{service}", "republish", "--clinic", clinic]
    environment = {**os.environ, **stack.environment(service)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def _rebuild(stack: Stack, clinic: Clinic) -> None:
    path = await _fill(clinic.world)
    try:
        await clinic.settled()
        clinic.drop()
        for service in ("intake", "scheduling", "monitoring"):
            await asyncio.to_thread(republish, stack, service, clinic.world.clinic)
        await clinic.settled()
        clinic.acted_after = clinic.counted()
    finally:
        await clinic.world.call("nurse", "POST", f"{path}/leave", {"disposition": "left_unseen"})
        await clinic.world.http.aclose()


@pytest.fixture(scope="module")
def rebuilt(stack: Stack) -> Iterator[Clinic]:
    with MongoClient[Any](stack.mongodb_uri) as client:
        clinic = Clinic(World(stack), client)
        asyncio.run(_rebuild(stack, clinic))
        yield clinic


@pytest.mark.parametrize("kept", PROJECTIONS, ids=lambda row: f"{row.of}-{row.consumer}")
def test_a_dropped_projection_is_whole_again(rebuilt: Clinic, kept: Projection) -> None:
    before, after = rebuilt.before[kept.place], rebuilt.row(kept.place)
    assert _picked(after, kept) == _picked(before, kept)


def _picked(row: Any, kept: Projection) -> Any:
    """Without the sequences: a State event has the last ordinal of its version."""
    return {name: _plain(row[name]) for name in kept.fields}


def _plain(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {name: _plain(inner) for name, inner in item.items() if name != "sequence"}


def test_nobody_was_told_paged_or_booked_again(rebuilt: Clinic) -> None:
    assert rebuilt.acted == rebuilt.acted_after
    assert sum(rebuilt.acted.values()) > 0, "the clinic did nothing at all: this proves nothing"


@pytest.mark.parametrize("name", STATE_EVENTS)
def test_whoever_consumes_a_state_event_is_in_the_table(name: str) -> None:
    """A new consumer comes with its projection above, or is named as one that keeps none."""
    consumers = {row.consumer for row in PROJECTIONS if row.of == name}
    consumers |= {service for event, service in KEEPS_NOTHING if event == name}
    handlers = {service: import_module(f"services.{service}.handlers") for service in SERVICES}
    found = {
        service for service, module in handlers.items() if any(kind.__name__ == name for kind in module.EVENT_HANDLERS)
    }
    assert found == consumers
