"""One visit. Every read of it leaves an audit row."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Response

from services.scheduling import model, schemas
from services.scheduling.model import VisitProtocol
from services.scheduling.routes.callers import Staff, StaffOrSelf, must_be_own, self_only
from services.scheduling.store import APPOINTMENTS
from services.scheduling.usecases import appointments
from shared.events.scheduling import AppointmentStatus
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Call, Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id, Instant

router = APIRouter()
_CHANGES = problems(404, 409, 412, 428)
_FIELDS = {"status": "state", "resource": "resources.id"}
_BOUNDS = {"from": "$gte", "to": "$lt"}
_TYPED = {"status": AppointmentStatus, "resource": Id, "from": Instant, "to": Instant}
LISTED = Listed(schemas.Appointment, "kind", "patient_id", "plan_id", typed=_TYPED)


def show_appointment(row: Document, protocol: VisitProtocol) -> schemas.Appointment:
    fields = {name: row[name] for name in set(schemas.Appointment.model_fields) - {"id", "readiness"}}
    return schemas.Appointment(id=row["_id"], readiness=_readiness(row, protocol), **fields)


def _readiness(row: Document, protocol: VisitProtocol) -> schemas.Readiness | None:
    if row["readiness"] is None:
        return None
    checks = [schemas.Check(check=item.check, ok=item.ok) for item in model.checks_of(row)]
    missing = model.missing(row, protocol.readiness.get(row["kind"], ()))
    return schemas.Readiness(ready=row["readiness"]["ready"], checks=checks, missing=missing, at=row["readiness"]["at"])


def _reply(call: Call, row: Document) -> Reply:
    return Reply(show_appointment(row, call.deps.protocol), version=row["version"])


def _select(filters: dict[str, Any]) -> Document:
    query: Document = {}
    for name, value in filters.items():
        if name in _BOUNDS:
            query.setdefault("start", {})[_BOUNDS[name]] = value
        else:
            query[_FIELDS.get(name, name)] = value
    return query


@router.post("/v1/appointments", status_code=201, response_model=schemas.Appointment, responses=problems(409))
async def book_appointment(body: schemas.NewAppointment, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await appointments.book(unit, call.deps, body)
        shown = show_appointment(row, call.deps.protocol)
        return Reply(shown, 201, location=f"/v1/appointments/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    "/v1/appointments",
    response_model=Listing[schemas.Appointment],
    responses=problems(),
    openapi_extra=LISTED.parameters,
)
async def list_appointments(call: StaffOrSelf) -> Response:
    """Filters: from, to (by start), kind, status, patient_id, plan_id, resource. A patient sees its own."""
    page = call.page(LISTED)
    patient_id = self_only(call)
    own: Document = {"patient_id": patient_id} if patient_id else {}

    async def work(unit: UnitOfWork) -> Reply:
        audit(unit, "appointments.list", "appointments", patient_id=patient_id or page.filters.get("patient_id"))
        protocol = call.deps.protocol
        return await page.of(unit, APPOINTMENTS, own, lambda row: show_appointment(row, protocol), select=_select)

    return await call.write(work)


@router.get("/v1/appointments/{appointment_id}", response_model=schemas.Appointment, responses=problems(404))
async def get_appointment(appointment_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(APPOINTMENTS).get(appointment_id)
        must_be_own(call, row["patient_id"])
        audit(unit, "appointment.read", f"appointment/{appointment_id}", patient_id=row["patient_id"])
        return _reply(call, row)

    return await call.write(work)


async def _change(
    call: Call, appointment_id: str, act: Callable[[UnitOfWork, Document], Awaitable[Document]]
) -> Response:
    """The version named by If-Match, somebody's own or staff, then the verb."""
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        must_be_own(call, (await unit.collection(APPOINTMENTS).get(appointment_id))["patient_id"])
        row = await appointments.load(unit, appointment_id, expected)
        return _reply(call, await act(unit, row))

    return await call.write(work)


@router.post("/v1/appointments/{appointment_id}/confirm", response_model=schemas.Appointment, responses=_CHANGES)
async def confirm_appointment(appointment_id: Id, call: StaffOrSelf) -> Response:
    return await _change(call, appointment_id, appointments.confirm)


@router.post("/v1/appointments/{appointment_id}/reschedule", response_model=schemas.Appointment, responses=_CHANGES)
async def reschedule_appointment(appointment_id: Id, body: schemas.Reschedule, call: Staff) -> Response:
    """The old place is given up only when the new one is free; readiness is asked anew."""
    return await _change(call, appointment_id, lambda unit, row: appointments.reschedule(unit, call.deps, row, body))


@router.post("/v1/appointments/{appointment_id}/cancel", response_model=schemas.Appointment, responses=_CHANGES)
async def cancel_appointment(appointment_id: Id, body: schemas.Cancellation, call: StaffOrSelf) -> Response:
    """Also the integration that was reserved after this session."""
    reason = body.reason_code
    return await _change(call, appointment_id, lambda unit, row: appointments.cancel(unit, call.deps, row, reason))


@router.post("/v1/appointments/{appointment_id}/no-show", response_model=schemas.Appointment, responses=_CHANGES)
async def mark_no_show(appointment_id: Id, call: Staff) -> Response:
    return await _change(call, appointment_id, lambda unit, row: appointments.no_show(unit, call.deps, row))


@router.post("/v1/appointments/{appointment_id}/readiness", response_model=schemas.Appointment, responses=_CHANGES)
async def record_readiness(appointment_id: Id, body: schemas.NewReadiness, call: StaffOrSelf) -> Response:
    return await _change(
        call, appointment_id, lambda unit, row: appointments.record_readiness(unit, call.deps, row, body)
    )
