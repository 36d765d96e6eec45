"""What other services say, and the courses it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.events import intake, monitoring
from shared.events.envelope import rfc3339
from tests.integration.scheduling.clinic import plan
from tests.integration.scheduling.world import PATIENT, World

AT = datetime(2026, 3, 1, tzinfo=UTC)


async def known(world: World, **changed: Any) -> str:
    event = plan(PATIENT, **changed)
    await world.handle(event, f"plan/{event.plan_id}", 2)
    return event.plan_id


def of(kind: type[Any], event: intake.TreatmentPlanActivated, **changed: Any) -> Any:
    """The same plan in another event."""
    return kind(**{**event.model_dump(), **changed})


def session_events(appointment_id: str, plan_id: str, session_id: str) -> dict[str, tuple[Any, int]]:
    fields: dict[str, Any] = {"patient_id": PATIENT, "session_id": session_id, "appointment_id": appointment_id}
    done = {"plan_id": plan_id, "sequence_no": 1, "duration_min": 120, "dose_total_mg": 35.0, "alarm_count": 0}
    known_fields = {name: item for name, item in done.items() if name in monitoring.SessionCompleted.model_fields}
    return {
        "checked_in": (monitoring.SessionCheckedIn(**fields, room="R", chair="C", responsible_staff=[]), 1),
        "aborted": (monitoring.SessionAborted(**fields, plan_id=plan_id, reason_code="other", phase="dosing"), 3),
        "completed": (monitoring.SessionCompleted(**fields, **known_fields, outcome_code="aborted"), 4),
    }


def risk(kind: type[Any], *, flagged: bool) -> Any:
    return kind(patient_id=PATIENT, flagged=flagged, instrument="c_ssrs", level="moderate", at=AT)


def consent(kind: type[Any], consent_id: str, state: str, document: str = "ketamine_treatment") -> Any:
    fields = {"patient_id": PATIENT, "consent_id": consent_id, "document": document, "version": "1", "signed_at": AT}
    return kind(**fields, state=state)


def starts(world: World, *hours: float) -> dict[str, list[str]]:
    return {"starts": [rfc3339(world.clock.clinical_now() + timedelta(hours=h)) for h in hours]}


def dosing(world: World, *resources: dict[str, Any], plan_id: str | None, **changed: Any) -> dict[str, Any]:
    return world.visit(*resources, kind="dosing", plan_id=plan_id, **changed)


async def visits(world: World, **query: Any) -> list[dict[str, Any]]:
    rows = await world.rows("appointments", **query)
    return sorted(rows, key=lambda row: row["start"])
