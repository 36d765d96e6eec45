"""Groups: who takes part, and every path of a session below the group as well."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, get_type_hints

from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute

from services.monitoring import schemas
from services.monitoring import schemas_session as bodies
from services.monitoring.routes.edge import SESSION, Clinical, Staff, deps, show_session
from services.monitoring.usecases import participants
from shared.persistence.audit import audit
from shared.persistence.mongo import StoreFault, UnitOfWork
from shared.web.call import Call, Reply
from shared.web.problems import problems
from shared.web.schemas import Body, Id

MEMBER = "/v1/sessions/{group_id}/participants/{session_id}"
router = APIRouter(tags=["participants"])


class Members(Body):
    items: list[bodies.Participant]


@router.post(f"{SESSION}/participants", status_code=201, response_model=schemas.Session, responses=problems(404, 409))
async def join(session_id: Id, body: bodies.NewParticipant, call: Clinical) -> Response:
    """A participant of the group, with a record of its own: its id is the participant's."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await participants.join(unit, deps(call), session_id, body)
        return Reply(show_session(row), 201, location=f"/v1/sessions/{session_id}/participants/{row['_id']}", version=1)

    return await call.write(work)


@router.get(f"{SESSION}/participants", response_model=Members, responses=problems(404))
async def list_participants(session_id: Id, call: Staff) -> Response:
    """Who takes part; a session that is no group is its only participant."""

    async def work(unit: UnitOfWork) -> Reply:
        rows = await participants.members(unit, session_id)
        audit(unit, "session.participants", f"session/{session_id}")
        return Reply(Members(items=[bodies.Participant(participant_id=row["_id"], state=row["state"]) for row in rows]))

    return await call.write(work)


def below_the_group(routes: Iterable[Any]) -> APIRouter:
    """Every route of a session once more below its group: the same function on the participant's record.

    It is not found there when the record belongs to another group.
    """
    mirror = APIRouter(tags=["participants"])
    for route in routes:
        if isinstance(route, APIRoute) and route.path.startswith(SESSION):
            mirror.add_api_route(
                route.path.replace(SESSION, MEMBER, 1),
                route.endpoint,
                methods=sorted(route.methods or ()),
                status_code=route.status_code,
                response_model=route.response_model,
                response_class=route.response_class,
                responses=route.responses,
                openapi_extra=route.openapi_extra,
                dependencies=[*route.dependencies, Depends(_member(route.endpoint))],
                description=route.description,
                name=f"participant_{route.name}",
            )
    return mirror


def _member(endpoint: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
    """Checked for whoever the endpoint admits, so that nobody else learns what exists."""

    async def member(group_id: Id, session_id: Id, call: Call) -> None:
        # While the store is gone nothing is refused here: the use case answers, and readings are judged in memory.
        try:
            await participants.of_group(call.runtime.mongo.reader(call.scope), group_id, session_id)
        except StoreFault:
            return

    member.__annotations__["call"] = get_type_hints(endpoint, include_extras=True)["call"]
    return member
