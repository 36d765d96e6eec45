"""The HTTP edge: who asks, one transaction, the stored answer of an Idempotency-Key, the ETag, the page."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request, Response

from shared.errors import Forbidden, PreconditionFailed, PreconditionRequired, Unavailable
from shared.ids import new_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Reader, UnitOfWork
from shared.persistence.scope import Actor, Scope
from shared.web.auth import Principal, Role
from shared.web.idempotency import Once, key_of
from shared.web.limits import TRACEPARENT
from shared.web.nurse import NURSE
from shared.web.paging import Listed, Page, asked
from shared.web.reply import Listing, Reply
from shared.web.runtime import Runtime

__all__ = ["Call", "Listed", "Listing", "Page", "Reply", "admit"]

Write = Callable[[UnitOfWork], Awaitable[Reply]]
Read = Callable[[Reader], Awaitable[Reply]]
_VERSION_DIGITS = 15
ADMITTED = "__admitted__"  # of the dependency that `admit` makes: the roles, for the document


class Call:
    """One request of an admitted caller."""

    def __init__(
        self, request: Request, runtime: Runtime, principal: Principal, clinic_id: str, role: Role | None = None
    ) -> None:
        self._request, self.runtime, self.principal = request, runtime, principal
        actor = Actor(principal.subject, role.value if role else "none")
        self.scope = Scope(clinic_id, actor, correlation_id=new_id(), traceparent=request.scope.get(TRACEPARENT))

    @property
    def deps(self) -> Any:
        return self.runtime.deps

    async def write(self, work: Write, *, forgets: bool = False) -> Response:
        """One transaction; a POST with an Idempotency-Key gets the stored answer of the first success again.

        `forgets`: the work deletes stored answers, its own first one among them.
        Raises Invalid when the key was used with another body, Unavailable where nothing may be made because too many
        events wait already; that stops no nurse.
        """
        if self._request.method == "POST" and not self._request.scope.get(NURSE) and self.runtime.outbox_full():
            raise Unavailable("Too many events wait to be sent; nothing can be added yet.", retry_after_s=30)

        async def rendered(unit: UnitOfWork) -> Response:
            return (await work(unit)).render()

        key = key_of(self._request.headers.get("idempotency-key")) if self._request.method == "POST" else None
        if key is None:
            return await self.runtime.mongo.run(self.scope, rendered)
        url, body = self._request.url, await self._request.body()
        identifier = self._mac("key", self.principal.subject, f"POST {url.path}", key)
        once = Once(self.runtime.mongo, self.runtime.ring, identifier, self._mac("body", url.query, body.hex()))
        return await once.run(self.scope, rendered, forgets=forgets)

    async def read(self, work: Read, *, audited: str | None = None) -> Response:
        """`audited` names a list of patient data, "sessions": its row is committed before the answer."""
        if audited is None:
            return (await work(self.runtime.mongo.reader(self.scope))).render()

        async def noted(unit: UnitOfWork) -> Response:
            patient_id = self._request.query_params.get("patient_id")
            audit(unit, f"{audited}.list", audited, patient_id=patient_id)
            return (await work(unit)).render()

        return await self.runtime.mongo.run(self.scope, noted)

    def expected_version(self) -> int:
        """The version named by If-Match; raises PreconditionRequired, PreconditionFailed (strong comparison)."""
        header = self._request.headers.get("if-match")
        if header is None:
            raise PreconditionRequired
        text = header.strip()
        digits = text[2:-1]
        if not (text.startswith('"v') and text.endswith('"') and digits.isascii() and digits.isdecimal()):
            raise PreconditionFailed
        if len(digits) > _VERSION_DIGITS:
            raise PreconditionFailed
        return int(digits)

    def only_self(self, patient_id: str) -> bool:
        """False when a patient's token asks for somebody else."""
        return self.principal.patient_id in (None, patient_id)

    def page(self, listed: Listed | Sequence[str] = ()) -> Page:
        """The page asked for, by these filters; raises BadRequest."""
        return asked(self._request.query_params, self._request.url, listed, self._mac)

    def _mac(self, *parts: str) -> str:
        text = "\x1f".join((self.scope.clinic_id, *parts))
        return hmac.new(self.runtime.signing_key, text.encode(), hashlib.sha256).hexdigest()


def admit(*roles: Role) -> Callable[[Request], Awaitable[Call]]:
    """The dependency of a route: names the roles it admits. Raises Unauthorized, Forbidden, TooManyRequests."""
    admitted = frozenset(roles)

    async def dependency(request: Request) -> Call:
        runtime: Runtime = request.app.state.runtime
        principal = await runtime.tokens.principal(request.headers.get("authorization"))
        if not request.scope.get(NURSE):
            runtime.limiter.take(request.scope, principal.subject)
        role = principal.role(admitted)
        if role is None:
            raise Forbidden
        return Call(request, runtime, principal, principal.clinic(request.headers.get("clinic-id")), role)

    setattr(dependency, ADMITTED, admitted)
    return dependency
