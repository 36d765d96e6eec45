"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.monitoring import schemas, usecases, watching
from services.monitoring.store import ALARMS, SESSIONS
from shared.errors import NotFound
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import CLINICAL, STAFF, Role
from shared.web.call import Call, Reply, admit
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()
Staff = Annotated[Call, Depends(admit(*STAFF))]
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]
Prescribing = Annotated[Call, Depends(admit(Role.NURSE, Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Measuring = Annotated[Call, Depends(admit(*CLINICAL, Role.DEVICE))]
SESSION = "/v1/sessions/{session_id}"


def show_session(row: Document) -> schemas.Session:
    names = set(schemas.Session.model_fields) - {"id", "doses"}
    doses = [{name: dose[name] for name in ("medication", "amount_mg", "mg_per_kg")} for dose in row["doses"]]
    return schemas.Session(id=row["_id"], doses=doses, **{name: row[name] for name in names})


def show_alarm(row: Document) -> schemas.Alarm:
    return schemas.Alarm(id=row["_id"], **{name: row.get(name) for name in set(schemas.Alarm.model_fields) - {"id"}})


async def _change(call: Call, change: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await change(unit)
        return Reply(show_session(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/sessions", status_code=201, response_model=schemas.Session, responses=problems())
async def open_session(body: schemas.NewSession, call: Clinical) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.open_unscheduled(unit, call.deps, body)
        return Reply(show_session(row), 201, location=f"/v1/sessions/{row['_id']}", version=1)

    return await call.write(work)


@router.get("/v1/sessions", responses=problems())
async def list_sessions(call: Staff) -> Response:
    page = call.page(["patient_id", "appointment_id", "state"])
    return await call.read(lambda reader: page.of(reader, SESSIONS, {}, show_session))


@router.get(SESSION, response_model=schemas.Session, responses=problems(404))
async def get_session(session_id: Id, call: Staff) -> Response:
    async def read(unit: UnitOfWork) -> Document:
        row = await unit.collection(SESSIONS).get(session_id)
        audit(unit, "session.read", f"session/{session_id}", patient_id=row["patient_id"])
        return row

    return await _change(call, read)


@router.post(f"{SESSION}/check-in", response_model=schemas.Session, responses=problems(404, 409))
async def check_in(session_id: Id, body: schemas.CheckIn, call: Clinical) -> Response:
    return await _change(call, lambda unit: usecases.check_in(unit, call.deps, session_id, body))


@router.post(f"{SESSION}/baseline", response_model=schemas.Session, responses=problems(404, 409))
async def take_baseline(session_id: Id, body: schemas.Baseline, call: Clinical) -> Response:
    return await _change(call, lambda unit: usecases.take_baseline(unit, session_id, body))


@router.post(f"{SESSION}/dose", response_model=schemas.Session, responses=problems(404, 409))
async def give_dose(session_id: Id, body: schemas.Dose, call: Prescribing) -> Response:
    return await _change(call, lambda unit: usecases.give_dose(unit, call.deps, session_id, body))


@router.post(f"{SESSION}/discharge", response_model=schemas.Session, responses=problems(404, 409))
async def discharge(session_id: Id, body: schemas.Discharge, call: Prescribing) -> Response:
    return await _change(call, lambda unit: usecases.discharge(unit, call.deps, session_id, body))


@router.post(f"{SESSION}/complete", response_model=schemas.Session, responses=problems(404, 409))
async def complete(session_id: Id, call: Clinical) -> Response:
    return await _change(call, lambda unit: usecases.complete(unit, session_id))


@router.post(f"{SESSION}/vitals", response_model=schemas.ReadingResults, responses=problems(404))
async def take_readings(session_id: Id, body: schemas.Readings, call: Measuring) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        results = await watching.take_readings(unit, call.deps, session_id, body.readings)
        return Reply(schemas.ReadingResults(results=results))

    return await call.write(work)


async def _alarm(call: Call, session_id: str, change: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await change(unit)
        if row["session_id"] != session_id:
            raise NotFound
        return Reply(show_alarm(row), version=row["version"])

    return await call.write(work)


@router.post(f"{SESSION}/acknowledge", response_model=schemas.Alarm, responses=problems(404))
async def acknowledge(session_id: Id, body: schemas.AlarmAction, call: Clinical) -> Response:
    role, now = call.scope.actor.role, call.runtime.clock.clinical_now()
    return await _alarm(call, session_id, lambda unit: watching.accept(unit, call.deps, body.alarm_id, role, now))


@router.post(f"{SESSION}/attend", response_model=schemas.Alarm, responses=problems(404))
async def attend(session_id: Id, body: schemas.AlarmAction, call: Clinical) -> Response:
    return await _alarm(call, session_id, lambda unit: watching.attend(unit, body.alarm_id, call.scope.actor.role))


@router.get("/v1/alarms", responses=problems())
async def list_alarms(call: Clinical) -> Response:
    page = call.page(["session_id", "priority"])
    return await call.read(lambda reader: page.of(reader, ALARMS, {}, show_alarm))
