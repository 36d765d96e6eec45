"""What staff, and patients for themselves, may do with a bearer token."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.notifications import schemas
from services.notifications.store import ESCALATIONS, MESSAGES, TASKS
from services.notifications.usecases import directory, escalations, messaging, preferences, tasks
from shared.errors import NotFound, PreconditionRequired
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import CLINICAL, STAFF, Role
from shared.web.call import Call, Listed, Listing, Reply, admit
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()
TASKS_LISTED = Listed(schemas.Task, "state", "kind", "claimed_by", "subject")
MESSAGES_LISTED = Listed(schemas.Message, "subject_id", "template", "channel", "state", typed={"escalation_id": Id})
ESCALATIONS_LISTED = Listed(
    schemas.Escalation,
    "alarm_id",
    "session_id",
    "priority",
    typed={"phase": schemas.Escalation.model_fields["state"].annotation},
)
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]
Staff = Annotated[Call, Depends(admit(*STAFF))]
Management = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR, Role.FRONT_DESK))]
StaffOrSelf = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT))]


def show_escalation(row: Document) -> schemas.Escalation:
    names = set(schemas.Escalation.model_fields) - {"id", "state"}
    return schemas.Escalation(id=row["_id"], state=row["phase"], **{name: row[name] for name in names})


def show_message(row: Document, text: str | None = None) -> schemas.Message:
    names = set(schemas.Message.model_fields) - {"id", "text"}
    return schemas.Message(id=row["_id"], text=text, **{name: row[name] for name in names})


def show_task(row: Document) -> schemas.Task:
    names = set(schemas.Task.model_fields) - {"id"}
    return schemas.Task(id=row["_id"], **{name: row[name] for name in names})


# Staff: how to reach them, and who is on call


@router.get("/v1/staff-contacts/{staff_id}", response_model=schemas.StaffContact, responses=problems(404))
async def get_staff_contact(staff_id: schemas.StaffId, call: Management) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        found = await directory.staff_contact(unit, call.deps, staff_id)
        version = found.pop("version")
        return Reply(schemas.StaffContact(**found), version=version)

    return await call.write(work)


@router.put("/v1/staff-contacts/{staff_id}", status_code=204, responses=problems(412))
async def put_staff_contact(staff_id: schemas.StaffId, body: schemas.StaffContact, call: Management) -> Response:
    """The whole contact. If-Match is honoured, not demanded: a pager that changes at night must be entered at once."""
    expected = _if_match(call)

    async def work(unit: UnitOfWork) -> Reply:
        version = await directory.set_staff_contact(unit, call.deps, staff_id, body, expected)
        return Reply(status=204, version=version)

    return await call.write(work)


@router.get("/v1/on-call", response_model=schemas.OnCall, responses=problems())
async def get_on_call(call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await directory.on_call(unit)
        return Reply(schemas.OnCall(**row["on_call"]), version=row["version"])

    return await call.write(work)


@router.put("/v1/on-call", status_code=204, responses=problems(412))
async def put_on_call(body: schemas.OnCall, call: Management) -> Response:
    """The whole rota. If-Match is honoured, not demanded."""
    expected = _if_match(call)

    async def work(unit: UnitOfWork) -> Reply:
        return Reply(status=204, version=await directory.set_on_call(unit, body, expected))

    return await call.write(work)


def _if_match(call: Call) -> int | None:
    try:
        return call.expected_version()
    except PreconditionRequired:
        return None


# Escalations


@router.get(
    "/v1/escalations",
    response_model=Listing[schemas.Escalation],
    responses=problems(),
    openapi_extra=ESCALATIONS_LISTED.parameters,
)
async def list_escalations(call: Clinical) -> Response:
    page = call.page(ESCALATIONS_LISTED)
    return await call.read(lambda reader: page.of(reader, ESCALATIONS, {}, show_escalation), audited="escalations")


@router.get("/v1/escalations/{escalation_id}", response_model=schemas.Escalation, responses=problems(404))
async def get_escalation(escalation_id: Id, call: Clinical) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await escalations.read(unit, escalation_id)
        return Reply(show_escalation(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/escalations/{escalation_id}/acknowledge", response_model=schemas.Escalation, responses=problems(404))
@nurse_route
async def acknowledge_escalation(escalation_id: Id, call: Clinical) -> Response:
    """Stops the paging at once; needs neither If-Match nor a key, and is idempotent by state."""

    async def work(unit: UnitOfWork) -> Reply:
        actor = call.scope.actor
        row = await escalations.acknowledge(unit, call.deps, escalation_id, actor.id, actor.role, "api")
        return Reply(show_escalation(row), version=row["version"])

    return await call.write(work)


# Messages


@router.get(
    "/v1/messages",
    response_model=Listing[schemas.Message],
    responses=problems(),
    openapi_extra=MESSAGES_LISTED.parameters,
)
async def list_messages(call: Staff) -> Response:
    page = call.page(MESSAGES_LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        audit(unit, "messages.list", "messages", patient_id=page.filters.get("subject_id"))
        return await page.of(unit, MESSAGES, {}, show_message)

    return await call.write(work)


@router.get("/v1/messages/{message_id}", response_model=schemas.Message, responses=problems(404))
async def get_message(message_id: Id, call: Staff) -> Response:
    """Attempt by attempt, with the text; the audit row of the read is committed before the answer."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(MESSAGES).get(message_id)
        text = None if row["urgent"] else await messaging.read_text(unit, call.deps, row)
        return Reply(show_message(row, text), version=row["version"])

    return await call.write(work)


@router.post(
    "/v1/messages/{message_id}/resend", status_code=202, response_model=schemas.Message, responses=problems(404, 409)
)
async def resend_message(message_id: Id, call: Staff) -> Response:
    """Once more, with new provider keys, to the address that is known now."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await messaging.resend(unit, call.deps, message_id)
        return Reply(show_message(row), 202, location=f"/v1/messages/{message_id}", version=row["version"])

    return await call.write(work)


# Tasks


@router.get(
    "/v1/tasks", response_model=Listing[schemas.Task], responses=problems(), openapi_extra=TASKS_LISTED.parameters
)
async def list_tasks(call: Staff) -> Response:
    page = call.page(TASKS_LISTED)
    return await call.read(lambda reader: page.of(reader, TASKS, {}, show_task), audited="tasks")


@router.get("/v1/tasks/{task_id}", response_model=schemas.Task, responses=problems(404))
async def get_task(task_id: Id, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await tasks.read_task(unit, task_id)
        return Reply(show_task(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/tasks/{task_id}/claim", response_model=schemas.Task, responses=problems(404, 409))
async def claim_task(task_id: Id, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await tasks.claim_task(unit, task_id)
        return Reply(show_task(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/tasks/{task_id}/done", response_model=schemas.Task, responses=problems(404))
async def finish_task(task_id: Id, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await tasks.finish_task(unit, task_id)
        return Reply(show_task(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/tasks/{task_id}/snooze", response_model=schemas.Task, responses=problems(404, 409))
async def snooze_task(task_id: Id, body: schemas.Snooze, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await tasks.snooze_task(unit, task_id, body.until)
        return Reply(show_task(row), version=row["version"])

    return await call.write(work)


# Preferences


@router.get("/v1/preferences/{patient_id}", response_model=schemas.Preferences, responses=problems(404))
async def get_preferences(patient_id: Id, call: StaffOrSelf) -> Response:
    if not call.only_self(patient_id):
        raise NotFound

    async def work(unit: UnitOfWork) -> Reply:
        row = await preferences.read_preferences(unit, patient_id)
        return Reply(schemas.Preferences(email=row["email"], sms=row["sms"]), version=row["version"])

    return await call.write(work)


@router.put("/v1/preferences/{patient_id}", response_model=schemas.Preferences, responses=problems(404, 412, 428))
async def put_preferences(patient_id: Id, body: schemas.Preferences, call: StaffOrSelf) -> Response:
    """If-Match with the ETag of the GET; `"v0"` where nothing was set yet."""
    if not call.only_self(patient_id):
        raise NotFound
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await preferences.set_preferences(unit, patient_id, body, expected)
        return Reply(body, version=row["version"])

    return await call.write(work)
