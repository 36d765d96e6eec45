"""Clinical content of the clinic's own; what the product brings stands in for it until a version is signed."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import PlainTextResponse

from services.monitoring.differing import as_text
from services.monitoring.routes.edge import Staff, deps
from services.monitoring.schemas_protocols import Change, Diff, NewProtocol, ProtocolRow, ProtocolShown
from services.monitoring.store import PROTOCOLS
from services.monitoring.usecases import protocols
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.web.auth import Role
from shared.web.call import Call, Listed, Listing, Reply, admit
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["protocols"])
PROTOCOL = "/v1/protocols/{protocol_id}"
LISTED = Listed(ProtocolRow, "kind", "route", "state")
Drafting = Annotated[Call, Depends(admit(Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Directing = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR))]


def show_row(row: Document) -> ProtocolRow:
    """What was signed before there was `effective_at` took effect with its signature."""
    told = {name: row.get(name) for name in set(ProtocolRow.model_fields) - {"id", "effective_at"}}
    return ProtocolRow(id=row["_id"], effective_at=row.get("effective_at") or row["signed_at"], **told)


def show_protocol(row: Document) -> ProtocolShown:
    return ProtocolShown(**show_row(row).model_dump(), content=orjson.loads(row["content"]))


@router.post("/v1/protocols", status_code=201, response_model=ProtocolShown, responses=problems(409))
async def draft_protocol(body: NewProtocol, call: Drafting) -> Response:
    """A version of the clinic's own; without effect until it is signed."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await protocols.draft(unit, deps(call), body.content, body.yaml, body.effective_at)
        return Reply(show_protocol(row), 201, location=f"/v1/protocols/{row['_id']}", version=row["version"])

    return await call.write(work)


@router.get("/v1/protocols", response_model=Listing[ProtocolRow], responses=problems(), openapi_extra=LISTED.parameters)
async def list_protocols(call: Staff) -> Response:
    """The clinic's own versions, newest first, with the state of each."""
    page = call.page(LISTED)
    return await call.read(lambda reader: page.of(reader, PROTOCOLS, {}, show_row))


@router.get(PROTOCOL, response_model=ProtocolShown, responses=problems(404))
async def get_protocol(protocol_id: Id, call: Staff) -> Response:
    """One version with its content."""

    async def read(reader: Reader) -> Reply:
        row = await reader.collection(PROTOCOLS).get(protocol_id)
        return Reply(show_protocol(row), version=row["version"])

    return await call.read(read)


@router.get(f"{PROTOCOL}/diff", response_model=Diff, responses=problems(404))
async def diff_protocol(
    protocol_id: Id,
    call: Staff,
    against: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "application/json",
) -> Response:
    """Value by value against another version, by default the one it was drafted from; readable as text/plain."""
    reader = call.runtime.mongo.reader(call.scope)
    before, after, found = await protocols.compare(reader, deps(call), protocol_id, against)
    if accept.startswith("text/plain"):
        return PlainTextResponse(as_text(before, after, found), headers={"Cache-Control": "no-store"})
    changes = [Change(path=item.path, old=item.old, new=item.new, source=item.source) for item in found]
    return Reply(Diff(before=before, after=after, changes=changes)).render()


@router.post(f"{PROTOCOL}/sign", response_model=ProtocolShown, responses=problems(404, 409, 412, 428))
async def sign_protocol(protocol_id: Id, call: Directing) -> Response:
    """The medical director signs the content of the ETag; in effect at its time, or at once, for sessions that begin."""
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await protocols.sign(unit, deps(call), protocol_id, expected)
        return Reply(show_protocol(row), version=row["version"])

    return await call.write(work)
