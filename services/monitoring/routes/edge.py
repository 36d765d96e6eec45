"""What the routes share: who may call, what they are given, how documents are shown."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Response

from services.monitoring import model, schemas
from services.monitoring import schemas_session as bodies
from services.monitoring.board_stream import Board
from services.monitoring.charts import Charts
from services.monitoring.ingest import Ingest
from services.monitoring.memory import Memory
from services.monitoring.schemas_entries import Entry, EntryShown
from services.monitoring.usecases import entries
from services.monitoring.usecases.deps import Deps
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import CLINICAL, STAFF, Role
from shared.web.call import Call, Reply, admit


@dataclass(frozen=True)
class Login:
    """Where the board's page lets people sign in: OIDC, code with PKCE, as this client. Nothing secret."""

    issuer: str
    client_id: str


SESSION = "/v1/sessions/{session_id}"
Staff = Annotated[Call, Depends(admit(*STAFF))]
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]
Prescribing = Annotated[Call, Depends(admit(Role.NURSE, Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Overriding = Annotated[Call, Depends(admit(Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Measuring = Annotated[Call, Depends(admit(*CLINICAL, Role.DEVICE))]


@dataclass(frozen=True)
class Edge:
    """`deps` of the use cases, the way in for readings, what is known without the store, the board, the charts."""

    deps: Deps
    ingest: Ingest
    memory: Memory
    board: Board
    charts: Charts
    login: Login


def edge(call: Call) -> Edge:
    given: Edge = call.deps
    return given


def deps(call: Call) -> Deps:
    return edge(call).deps


def show_session(row: Document, intention: str | None = None) -> schemas.Session:
    names = set(schemas.Session.model_fields) - {"id", "doses", "kind", "intention"}
    shown = ("medication", "amount_mg", "mg_per_kg", "device_no", "at")
    doses = [{name: dose[name] for name in shown if dose.get(name) is not None} for dose in row["doses"]]
    given = {name: row.get(name) for name in names}
    return schemas.Session(id=row["_id"], kind=model.kind_of(row), doses=doses, intention=intention, **given)


def show_group(row: Document, members: list[Document]) -> bodies.Group:
    shown = [bodies.Participant(participant_id=member["_id"], state=member["state"]) for member in members]
    given = {name: row[name] for name in ("kind", "location_id", "version")}
    return bodies.Group(id=row["_id"], participants=shown, **given)


def show_alarm(row: Document) -> schemas.Alarm:
    return schemas.Alarm(id=row["_id"], **{name: row.get(name) for name in set(schemas.Alarm.model_fields) - {"id"}})


def show_entry(row: Document, note: str | None = None) -> EntryShown:
    names = set(EntryShown.model_fields) - {"id", "facts", "note", "intention", "corrected_by"}
    facts = {name: value for name, value in row["facts"].items() if name != "note_sealed"}
    return EntryShown(id=row["_id"], facts=facts, note=note, **{name: row[name] for name in names})


async def change_session(call: Call, change: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    """One use case on a session, and the session as it is after it."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await change(unit)
        return Reply(show_session(row), version=row["version"])

    return await call.write(work)


async def write_entry(call: Call, work: Callable[[UnitOfWork], Awaitable[Document]]) -> Response:
    """One use case that makes an entry, and the entry."""

    async def whole(unit: UnitOfWork) -> Reply:
        return Reply(show_entry(await work(unit)), 201)

    return await call.write(whole)


async def add_entry(call: Call, session_id: str, kind: str, body: Entry) -> Response:
    return await write_entry(call, lambda unit: entries.add(unit, deps(call), session_id, kind, body))
