"""What people do with alarms. Idempotent by state; nothing here asks for a key or an ETag."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from services.monitoring import schemas
from services.monitoring.routes.edge import SESSION, Clinical, Overriding, change_session, deps, show_alarm
from services.monitoring.store import ALARMS
from services.monitoring.usecases import answering, limiting
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Call, Listed, Listing, Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["alarms"])
LISTED = Listed(schemas.Alarm, "session_id", "priority", "rule", "open", typed={"patient_id": Id})
ALARM = "/v1/alarms/{alarm_id}"


@router.get("/v1/alarms", response_model=Listing[schemas.Alarm], responses=problems(), openapi_extra=LISTED.parameters)
async def list_alarms(call: Clinical) -> Response:
    """Alarms, newest first."""
    page = call.page(LISTED)
    return await call.read(lambda reader: page.of(reader, ALARMS, {}, show_alarm), audited="alarms")


async def _alarm(call: Call, change: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await change(unit)
        return Reply(show_alarm(row), version=row["version"])

    return await call.write(work)


@router.post(f"{ALARM}/acknowledge", response_model=schemas.Alarm, responses=problems(404))
@nurse_route
async def acknowledge(alarm_id: Id, call: Clinical, body: schemas.Moment | None = None) -> Response:
    """I have seen it and I am going; the paging stops."""
    role, now = call.scope.actor.role, call.runtime.clock.clinical_now()
    return await _alarm(call, lambda unit: answering.accept(unit, deps(call), alarm_id, role, now, body=body))


@router.post(f"{ALARM}/attend", response_model=schemas.Alarm, responses=problems(404))
@nurse_route
async def attend(alarm_id: Id, call: Clinical, body: schemas.Moment | None = None) -> Response:
    """I am at the chair."""
    return await _alarm(call, lambda unit: answering.attend(unit, deps(call), alarm_id, call.scope.actor.role, body))


@router.post(f"{ALARM}/silence", response_model=schemas.Alarm, responses=problems(404))
@nurse_route
async def silence(alarm_id: Id, body: schemas.Mute, call: Clinical) -> Response:
    """Mute the board's sound for at most two minutes; paging goes on."""
    return await _alarm(call, lambda unit: answering.silence(unit, alarm_id, body))


@router.post(f"{ALARM}/escalate", response_model=schemas.Alarm, responses=problems(404))
@nurse_route
async def escalate(alarm_id: Id, call: Clinical, body: schemas.Moment | None = None) -> Response:
    """I need help: high priority from now on."""
    return await _alarm(call, lambda unit: answering.escalate(unit, alarm_id, call.scope.actor.role, body))


@router.post(f"{ALARM}/suppress", response_model=schemas.Alarm, responses=problems(404, 409))
async def suppress(alarm_id: Id, body: schemas.Suppression, call: Clinical) -> Response:
    """I know, and for so many minutes I need not be told of this rule again; accepts the alarm too."""
    return await _alarm(call, lambda unit: answering.suppress(unit, deps(call), alarm_id, body))


@router.put(f"{SESSION}/limits", response_model=schemas.Session, responses=problems(404, 409, 412, 428))
async def set_limits(session_id: Id, body: schemas.OwnLimits, call: Overriding) -> Response:
    """A session's own limits in the place of the protocol's; the whole set, in the place of the one that was read."""
    expected = call.expected_version()
    return await change_session(call, lambda unit: limiting.set_limits(unit, deps(call), session_id, body, expected))
