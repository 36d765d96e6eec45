"""A small application on the web edge and a real store: things of a clinic, and one verb that a nurse must always have."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import httpx
from fastapi import APIRouter, Depends, Request, Response
from pymongo import ASCENDING, IndexModel

from shared.clock import Clock
from shared.errors import Conflict, Unauthorized
from shared.ids import new_id
from shared.persistence.audit import audit
from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, Mongo, UnitOfWork, as_document
from shared.persistence.vault import KeyRing
from shared.web.app import create_app
from shared.web.auth import Principal, Role
from shared.web.call import Call, Listed, Listing, Reply, admit
from shared.web.form import form_call, public_form
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.rates import Limiter
from shared.web.runtime import Runtime
from shared.web.schemas import Body, Instant

CLINIC, OTHER = "clinic-1", "clinic-2"
THINGS = "things"
INDEXES = {THINGS: LISTED, "claims": [IndexModel([("clinic_id", ASCENDING), ("slot", ASCENDING)], unique=True)]}
RING = KeyRing("k1:" + b64encode(b"k" * 32).decode())


class NewThing(Body):
    kind: Literal["round", "square"]
    label: str = "x"


class Thing(NewThing):
    id: str
    open: bool
    created_at: Instant
    updated_at: Instant


router = APIRouter()
Nurse = Annotated[Call, Depends(admit(Role.NURSE))]
LIST = Listed(Thing, "kind", "open")


class Gate:
    """Holds a use case in the middle of its transaction until the test lets it go on; by default it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.entered = 0
        self.fault: Exception | None = None

    async def passes(self) -> None:
        self.entered += 1
        await self.open.wait()
        if self.fault:
            raise self.fault


def show(row: Document) -> Thing:
    return Thing(id=row["_id"], **{name: row[name] for name in set(Thing.model_fields) - {"id"}})


async def _make(call: Call, body: NewThing) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        gate: Gate = call.deps
        row = as_document(new_id(), unit.clock.clinical_now(), kind=body.kind, label=body.label, open=True)
        await unit.collection(THINGS).insert(row)
        audit(unit, "thing.make", f"thing/{row['_id']}", patient_id="p-1")
        await gate.passes()
        return Reply(show(row), 201, location=f"/v1/things/{row['_id']}", version=1)

    return await call.write(work)


@router.post("/v1/things", status_code=201, response_model=Thing, responses=problems(409))
async def make(body: NewThing, call: Nurse) -> Response:
    return await _make(call, body)


@router.post("/v1/things/stop", status_code=201, response_model=Thing, responses=problems())
@nurse_route
async def stop(body: NewThing, call: Nurse) -> Response:
    return await _make(call, body)


@router.get("/v1/things", response_model=Listing[Thing], responses=problems(), openapi_extra=LIST.parameters)
async def things(call: Nurse) -> Response:
    page = call.page(LIST)
    return await call.read(lambda reader: page.of(reader, THINGS, {}, show), audited="things")


@router.post("/v1/claims/{slot}", status_code=204, responses=problems(409))
async def claim(slot: str, call: Nurse) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        await unit.collection("claims").insert({"_id": new_id(), "slot": slot})
        audit(unit, "thing.claim", "claim")
        return Reply(status=204)

    return await call.write(work)


async def by_form(request: Request) -> Call:
    return form_call(request, request.headers.get("publishable-key", "none"), CLINIC)


@router.post("/v1/form", status_code=204, responses=problems())
@public_form
async def form(call: Annotated[Call, Depends(by_form)]) -> Response:
    return Response(status_code=204, headers={"X-Actor": call.scope.actor.id})


class Tokens:
    """Bearer `subject@clinic`."""

    async def principal(self, authorization: str | None) -> Principal:
        if not authorization:
            raise Unauthorized
        subject, _, clinic = authorization.removeprefix("Bearer ").partition("@")
        return Principal(subject, frozenset({Role.NURSE}), frozenset({clinic or CLINIC}))


class World:
    def __init__(self, mongo: Mongo, clock: Clock, limiter: Limiter | None = None) -> None:
        self.mongo, self.gate, self.busy = mongo, Gate(), Conflict("busy")
        tokens: Any = Tokens()
        runtime = Runtime(
            mongo,
            clock,
            RING,
            tokens,
            b"s" * 32,
            self.gate,
            limiter or Limiter(clock.monotonic),
            ("https://clinic.example",),
        )
        self.app = create_app("things", [router], runtime)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://things.test",
            headers={"Authorization": "Bearer n1"},
        )

    async def make(self, path: str = "/v1/things", *, key: str | None = None, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post(path, json={"kind": "round", **body}, headers=headers)

    async def put(self, number: int, at: datetime, *, changed: datetime | None = None, **fields: Any) -> str:
        """A thing without HTTP; ids do not follow the time."""
        identifier = f"{(number * 7919) % 1000:03d}"
        row = as_document(identifier, at, clinic_id=CLINIC, kind="round", label="x", open=True) | fields
        await self.mongo.plumbing(THINGS).insert(row | {"updated_at": changed or at})
        return identifier

    async def ids(self, query: str, url: str = "/v1/things") -> list[str]:
        """All pages of a list, by their links."""
        found: list[str] = []
        path: str | None = f"{url}?{query}"
        while path:
            answer = await self.http.get(path)
            assert answer.status_code == 200, answer.text
            found += [row["id"] for row in answer.json()["items"]]
            path = answer.links["next"]["url"] if "next" in answer.links else None
            assert (path is None) == ("next_cursor" not in answer.json() or answer.json()["next_cursor"] is None)
        return found


async def gathered(count: int, ask: Callable[[int], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    return list(await asyncio.gather(*(ask(number) for number in range(count))))
