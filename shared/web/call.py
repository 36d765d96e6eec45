"""The HTTP edge: who asks, one transaction, the stored answer of an Idempotency-Key, the ETag, the page."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from shared.errors import BadRequest, Forbidden, Invalid, PreconditionFailed, PreconditionRequired
from shared.ids import new_id
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.web.auth import Principal, Role
from shared.web.limits import TRACEPARENT
from shared.web.runtime import Runtime

PAGE_DEFAULT, PAGE_MAX = 50, 200


@dataclass(frozen=True)
class Reply:
    """What a use case answers: `version` becomes the ETag, `location` the Location."""

    body: BaseModel | None = None
    status: int = 200
    location: str | None = None
    version: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def render(self) -> Response:
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.location:
            headers["Location"] = self.location
        if self.version is not None:
            headers["ETag"] = f'"v{self.version}"'
        content = b"" if self.body is None else self.body.model_dump_json(exclude_none=True).encode()
        return Response(content, self.status, headers, media_type="application/json" if content else None)


Write = Callable[[UnitOfWork], Awaitable[Reply]]
Read = Callable[[Reader], Awaitable[Reply]]


class Call:
    """One request of an admitted caller."""

    def __init__(self, request: Request, runtime: Runtime, principal: Principal, clinic_id: str) -> None:
        self._request, self.runtime, self.principal = request, runtime, principal
        role = min(principal.roles, default=None)
        actor = Actor(principal.subject, role.value if role else "none")
        self.scope = Scope(clinic_id, actor, correlation_id=new_id(), traceparent=request.scope.get(TRACEPARENT))

    @property
    def deps(self) -> Any:
        return self.runtime.deps

    async def write(self, work: Write) -> Response:
        """One transaction; with an Idempotency-Key the stored answer of the first success is given again.

        Raises Invalid when the key was used with another body.
        """
        key = self._request.headers.get("idempotency-key", "").strip('"')
        if len(key) > 255:  # noqa: PLR2004 - Stripe's bound
            raise BadRequest("Idempotency-Key is longer than 255 characters.")
        if not key:
            return (await self.runtime.mongo.run(self.scope, work)).render()
        body = await self._request.body()

        async def once(unit: UnitOfWork) -> Response:
            return await self._once(unit, key, body, work)

        return await self.runtime.mongo.run(self.scope, once)

    async def _once(self, unit: UnitOfWork, key: str, body: bytes, work: Write) -> Response:
        route = f"{self._request.method} {self._request.url.path}"
        identifier = self._mac("key", self.scope.clinic_id, self.principal.subject, route, key)
        fingerprint = self._mac("body", body.hex())
        records = unit.plumbing("idempotency")
        record = await records.find_one({"_id": identifier})
        if record is not None:
            if record["fingerprint"] != fingerprint:
                raise Invalid("This Idempotency-Key was used with another body.")
            content = self.runtime.ring.open(record["kid"], record["content"], identifier)
            headers = {**record["headers"], "Idempotent-Replayed": "true"}
            return Response(content, record["status"], headers)
        response = (await work(unit)).render()
        kid, sealed = self.runtime.ring.seal(bytes(response.body), identifier)
        kept = {name: text for name, text in response.headers.items() if name != "content-length"}
        answer: Document = {"status": response.status_code, "headers": kept, "kid": kid, "content": sealed}
        await records.insert({"_id": identifier, "fingerprint": fingerprint, "at": unit.clock.system_now(), **answer})
        return response

    async def read(self, work: Read) -> Response:
        return (await work(self.runtime.mongo.reader(self.scope))).render()

    def expected_version(self) -> int:
        """The version named by If-Match; raises PreconditionRequired, PreconditionFailed (strong comparison)."""
        header = self._request.headers.get("if-match")
        if header is None:
            raise PreconditionRequired
        text = header.strip()
        if not (text.startswith('"v') and text.endswith('"') and text[2:-1].isdecimal()):
            raise PreconditionFailed
        return int(text[2:-1])

    def only_self(self, patient_id: str) -> bool:
        """False when a patient's token asks for somebody else."""
        return self.principal.patient_id in (None, patient_id)

    def page(self, filters: Sequence[str] = ()) -> "Page":
        """The page asked for; raises BadRequest for unknown parameters, a bad limit or a cursor that is not ours."""
        query = self._request.query_params
        unknown = set(query) - {"limit", "cursor", *filters}
        if unknown:
            raise BadRequest("Unknown query parameters; known: " + ", ".join(sorted({"limit", "cursor", *filters})))
        limit = query.get("limit", str(PAGE_DEFAULT))
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:6]) <= PAGE_MAX:
            raise BadRequest(f"limit must be from 1 to {PAGE_MAX}.")
        chosen = {name: query[name] for name in filters if name in query}
        return Page(self, int(limit), chosen, self._after(query.get("cursor"), chosen))

    def _after(self, cursor: str | None, chosen: dict[str, str]) -> str | None:
        if cursor is None:
            return None
        try:
            payload, _, mac = urlsafe_b64decode(cursor.encode()).decode().rpartition("|")
        except ValueError:
            raise BadRequest("The cursor is not valid.") from None
        if not hmac.compare_digest(mac, self._cursor_mac(payload, chosen)):
            raise BadRequest("The cursor is not valid.")
        return payload

    def cursor(self, last: str, chosen: dict[str, str]) -> str:
        return urlsafe_b64encode(f"{last}|{self._cursor_mac(last, chosen)}".encode()).decode()

    def next_link(self, cursor: str) -> str:
        return f'<{self._request.url.include_query_params(cursor=cursor)}>; rel="next"'

    def _cursor_mac(self, last: str, chosen: dict[str, str]) -> str:
        return self._mac(
            "cursor", self.scope.clinic_id, self._request.url.path, orjson.dumps(sorted(chosen.items())).hex(), last
        )

    def _mac(self, *parts: str) -> str:
        return hmac.new(self.runtime.signing_key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()


class Listing(BaseModel):
    """One page, newest first."""

    items: list[Any]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """A page of a list, newest first by id."""

    call: Call
    limit: int
    filters: dict[str, str]
    after: str | None

    async def of(
        self, reader: Reader, collection: str, query: Document, show: Callable[[Document], BaseModel]
    ) -> Reply:
        where = {**query, **self.filters}
        if self.after:
            where["_id"] = {"$lt": self.after}
        rows = await reader.collection(collection).find(where, sort=[("_id", -1)], limit=self.limit + 1)
        more = len(rows) > self.limit
        rows = rows[: self.limit]
        cursor = self.call.cursor(rows[-1]["_id"], self.filters) if more else None
        headers = {"Link": self.call.next_link(cursor)} if cursor else {}
        items = [show(row).model_dump(mode="json", exclude_none=True) for row in rows]
        return Reply(Listing(items=items, next_cursor=cursor), headers=headers)


def admit(*roles: Role) -> Callable[[Request], Awaitable[Call]]:
    """The dependency of a route: names the roles it admits. Raises Unauthorized, Forbidden."""

    async def dependency(request: Request) -> Call:
        runtime: Runtime = request.app.state.runtime
        principal = await runtime.tokens.principal(request.headers.get("authorization"))
        if not principal.roles & set(roles):
            raise Forbidden
        return Call(request, runtime, principal, principal.clinic(request.headers.get("clinic-id")))

    return dependency
