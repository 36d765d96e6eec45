"""What the use cases of intake are given, and the one way by which contact data leaves."""

from base64 import b64encode
from dataclasses import dataclass

from services.intake.model import ConsentProtocol, PlanProtocol, RiskProtocol
from shared.events.intake import ContactRecord
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.vault import TransportCipher, Vault


@dataclass(frozen=True)
class Deps:
    vault: Vault
    transport: TransportCipher
    plans: PlanProtocol
    consents: ConsentProtocol
    risk: RiskProtocol
    publishable_keys: dict[str, str]


def publish_contact(
    unit: UnitOfWork, deps: Deps, subject_id: str, version: int, contact: Document, *, ordinal: int | None = None
) -> None:
    """On the restricted topic, encrypted with the transport key; the highest version of a subject wins.

    The subject's document says in `transport_kid` which key that was.
    """
    sealed = b64encode(deps.transport.encrypt(subject_id, contact)).decode()
    record = ContactRecord(subject_id=subject_id, version=version, sealed=sealed, at=unit.clock.system_now())
    emit(unit, record, aggregate=f"contact/{subject_id}", version=version, key=subject_id, ordinal=ordinal)
