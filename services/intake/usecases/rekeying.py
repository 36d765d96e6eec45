"""The live contact records once more, under the transport key that is first in the ring now."""

from collections.abc import Mapping

from services.intake.store import INQUIRIES, PATIENTS
from services.intake.usecases.deps import Deps, publish_contact
from shared.messaging.outbox import LAST_ORDINAL
from shared.messaging.republish import Rekeyed
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.vault import Erased


def kinds(deps: Deps) -> Mapping[str, Rekeyed]:
    """Who has a contact record on the restricted topic."""

    async def again(unit: UnitOfWork, row: Document) -> None:
        try:
            contact = await deps.vault.decrypt(unit, row["_id"], row["contact"])
        except Erased:
            return
        publish_contact(unit, deps, row["_id"], row["version"], contact, ordinal=LAST_ORDINAL)

    def kind(collection: str) -> Rekeyed:
        return Rekeyed(collection, {"contact": {"$ne": None}}, deps.transport.current, again)

    return {"contacts of patients": kind(PATIENTS), "contacts of inquiries": kind(INQUIRIES)}
