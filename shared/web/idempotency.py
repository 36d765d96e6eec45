"""The stored answer of an Idempotency-Key: in the transaction of the effect, successes only, 24 h."""

import re
from collections.abc import Awaitable, Callable

from fastapi import Response

from shared.errors import BadRequest, Conflict, Invalid, Unavailable
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import Scope
from shared.persistence.vault import KeyRing

# A structured-field string or a bare word of visible ASCII, at most 255 characters (Stripe's bound).
KEY_PATTERN = r'^("[ !#-~]{1,253}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$'
_KEY = re.compile(KEY_PATTERN)
Work = Callable[[UnitOfWork], Awaitable[Response]]


def key_of(header: str | None) -> str | None:
    """The key without its quotes; None where there is none. Raises BadRequest: a key that is not honoured protects nobody."""
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return header.strip('"')


class Once:
    """One request under one key: `identifier` names client, route and key, `fingerprint` the body, both keyed hashes."""

    def __init__(self, mongo: Mongo, ring: KeyRing, identifier: str, fingerprint: str) -> None:
        self._mongo, self._ring, self._identifier, self._fingerprint = mongo, ring, identifier, fingerprint
        self._behind_twin = False

    async def run(self, scope: Scope, work: Work) -> Response:
        """`work` in one transaction, or the answer that it gave before.

        A twin that comes while the first one runs meets the mark that the first one wrote and waits for its commit.
        Raises Invalid when the key was used with another body, Conflict when the first one has not ended within 5 s.
        """
        try:
            return await self._mongo.run(scope, lambda unit: self._attempt(unit, work))
        except Unavailable:
            if not self._behind_twin:
                raise
            again = {"Retry-After": "1"}
            raise Conflict("A request with this Idempotency-Key is still being answered.", headers=again) from None

    async def _attempt(self, unit: UnitOfWork, work: Work) -> Response:
        self._behind_twin = False
        records = unit.plumbing("idempotency")
        record = await records.find_one({"_id": self._identifier})
        if record is not None:
            return self._repeat(record)
        mark: Document = {"_id": self._identifier, "fingerprint": self._fingerprint, "at": unit.clock.system_now()}
        self._behind_twin = True
        await records.insert(mark)
        self._behind_twin = False
        response = await work(unit)
        kid, sealed = self._ring.seal(bytes(response.body), self._identifier)
        headers = {name: text for name, text in response.headers.items() if name != "content-length"}
        answer = {"status": response.status_code, "headers": headers, "kid": kid, "content": sealed}
        await records.update({"_id": self._identifier}, {"$set": answer | {"about": _about(unit)}})
        return response

    def _repeat(self, record: Document) -> Response:
        if record["fingerprint"] != self._fingerprint:
            raise Invalid("This Idempotency-Key was used with another body.")
        content = self._ring.open(record["kid"], record["content"], self._identifier)
        return Response(content, record["status"], {**record["headers"], "Idempotent-Replayed": "true"})


def _about(unit: UnitOfWork) -> list[str]:
    """Ids of those whose data the answer may hold: an erasure deletes it by these."""
    rows = unit.staged("audit")
    subjects = {row["subject"].rpartition("/")[2] for row in rows}
    return sorted(subjects | {row["patient_id"] for row in rows if row["patient_id"]})
