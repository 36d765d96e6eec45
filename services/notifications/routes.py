"""HTTP in, one use case, HTTP out."""

from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.notifications import schemas, usecases
from services.notifications.store import ESCALATIONS, MESSAGES, ROTA, STAFF
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.scope import Actor, Scope, system_scope
from shared.web.auth import CLINICAL, Role
from shared.web.auth import STAFF as STAFF_ROLES
from shared.web.call import Call, Reply, admit
from shared.web.limits import TRACEPARENT
from shared.web.problems import problems
from shared.web.runtime import Runtime
from shared.web.schemas import Id, ShortText

router = APIRouter()
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]
Staff = Annotated[Call, Depends(admit(*STAFF_ROLES))]
Director = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR, Role.FRONT_DESK))]
LINK_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def show_escalation(row: Document) -> schemas.Escalation:
    names = set(schemas.Escalation.model_fields) - {"id"}
    return schemas.Escalation(id=row["_id"], **{name: row[name] for name in names})


def show_message(row: Document) -> schemas.Message:
    names = set(schemas.Message.model_fields) - {"id"}
    return schemas.Message(id=row["_id"], **{name: row[name] for name in names})


@router.put("/v1/staff-contacts/{staff_id}", status_code=204, responses=problems())
async def put_staff_contact(staff_id: ShortText, body: schemas.StaffContact, call: Director) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        await unit.collection(STAFF).put({"_id": staff_id, "schema_version": 1, "pager": body.pager})
        audit(unit, "staff_contact.put", f"staff/{staff_id}")
        return Reply(status=204)

    return await call.write(work)


@router.put("/v1/on-call", status_code=204, responses=problems())
async def put_on_call(body: schemas.OnCall, call: Director) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = {"_id": unit.scope.clinic_id, "schema_version": 1, "on_call": body.model_dump()}
        await unit.collection(ROTA).put(row)
        audit(unit, "on_call.put", "on-call")
        return Reply(status=204)

    return await call.write(work)


@router.get("/v1/escalations", responses=problems())
async def list_escalations(call: Clinical) -> Response:
    page = call.page(["alarm_id", "state"])
    return await call.read(lambda reader: page.of(reader, ESCALATIONS, {}, show_escalation))


@router.post("/v1/escalations/{escalation_id}/acknowledge", response_model=schemas.Escalation, responses=problems(404))
async def acknowledge_escalation(escalation_id: Id, call: Clinical) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        actor = call.scope.actor
        row = await usecases.acknowledge(unit, call.deps, escalation_id, actor.id, actor.role, "api")
        return Reply(show_escalation(row), version=row["version"])

    return await call.write(work)


@router.get("/v1/messages", responses=problems())
async def list_messages(call: Staff) -> Response:
    page = call.page(["subject_id", "template", "channel", "state"])
    return await call.read(lambda reader: page.of(reader, MESSAGES, {}, show_message))


def _html(title: str, body: str) -> Response:
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}</html>"
    return Response(text, headers=LINK_HEADERS, media_type="text/html")


@router.get("/v1/links/{token}", responses=problems(404, 410))
async def show_link(token: ShortText, request: Request) -> Response:
    """Shows only: a mail scanner that follows links acknowledges nothing."""
    runtime: Runtime = request.app.state.runtime

    async def work(unit: UnitOfWork) -> Document:
        return (await usecases.open_link(unit, token))[1]

    row = await runtime.mongo.run(system_scope("-", "links"), work)
    where = escape(f"{row['priority']} alarm, {row['room']}, chair {row['chair']}")
    form = "<form method=post><button>I am on my way</button></form>" if row["state"] == "paging" else ""
    return _html("Stillwater alarm", f"<p>{where}</p><p>State: {escape(row['state'])}</p>{form}")


@router.post("/v1/links/{token}", responses=problems(404, 410))
async def use_link(token: ShortText, request: Request) -> Response:
    """Acknowledges the alarm; the second use shows the same answer and changes nothing."""
    runtime: Runtime = request.app.state.runtime

    async def find(unit: UnitOfWork) -> tuple[Document, Document]:
        return await usecases.open_link(unit, token)

    link, escalation = await runtime.mongo.run(system_scope("-", "links"), find)
    actor = Actor(link["staff_id"], link["role"])
    scope = Scope(escalation["clinic_id"], actor, traceparent=request.scope.get(TRACEPARENT))

    async def act(unit: UnitOfWork) -> None:
        await usecases.acknowledge(unit, runtime.deps, escalation["_id"], actor.id, actor.role, "link")

    await runtime.mongo.run(scope, act)
    return _html("Stillwater alarm", "<p>Accepted. Please confirm at the chair.</p>")
