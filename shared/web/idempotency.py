"""The stored answer of an Idempotency-Key: in the transaction of the effect, successes only, 24 h."""

import re
from collections.abc import Awaitable, Callable

from fastapi import Response

from shared.errors import BadRequest, Invalid, StillwaterError
from shared.persistence.mongo import Collection, Document, Mongo, UnitOfWork
from shared.persistence.scope import Scope
from shared.persistence.vault import KeyRing

# A structured-field string or a bare word of visible ASCII, at most 255 characters (Stripe's bound).
KEY_PATTERN = r'^("[ !#-~]{1,253}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$'
_KEY = re.compile(KEY_PATTERN)
RECORDS = "idempotency"
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
        self._attempts = 0

    async def run(self, scope: Scope, work: Work, *, forgets: bool = False) -> Response:
        """`work` in one transaction, or the answer that it gave before; looked for first where it `forgets` answers.

        Of twins that run at the same time one commits; the store refuses the other, which then finds the answer.
        Raises Invalid when the key was used with another body.
        """
        try:
            return await self._mongo.run(scope, lambda unit: self._attempt(unit, work, look=forgets))
        except _Answered as answered:
            return answered.response

    async def _attempt(self, unit: UnitOfWork, work: Work, *, look: bool) -> Response:
        """A key is new as a rule, so nobody looks before the first attempt; the record's own key, or a refusal, tells."""
        self._attempts += 1
        records = unit.plumbing(RECORDS)
        if look or self._attempts > 1:
            await self._look(records)
        try:
            response = await work(unit)
        except StillwaterError:
            # What the first request did may be what refuses the second.
            await self._look(records)
            raise
        kid, sealed = self._ring.seal(bytes(response.body), self._identifier)
        record: Document = {"_id": self._identifier, "fingerprint": self._fingerprint, "at": unit.clock.system_now()}
        record |= {"status": response.status_code, "kid": kid, "content": sealed, "about": _about(unit)}
        record["headers"] = {name: text for name, text in response.headers.items() if name != "content-length"}
        await records.insert(record)
        return response

    async def _look(self, records: Collection) -> None:
        """Raises _Answered, which undoes what was done in this unit, or Invalid."""
        record = await records.find_one({"_id": self._identifier})
        if record is not None:
            raise _Answered(self._repeat(record))

    def _repeat(self, record: Document) -> Response:
        if record["fingerprint"] != self._fingerprint:
            raise Invalid("This Idempotency-Key was used with another body.")
        content = self._ring.open(record["kid"], record["content"], self._identifier)
        return Response(content, record["status"], {**record["headers"], "Idempotent-Replayed": "true"})


class _Answered(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _about(unit: UnitOfWork) -> list[str]:
    """Ids of those whose data the answer may hold: an erasure deletes it by these."""
    rows = unit.staged("audit")
    subjects = {row["subject"].rpartition("/")[2] for row in rows}
    return sorted(subjects | {row["patient_id"] for row in rows if row["patient_id"]})
