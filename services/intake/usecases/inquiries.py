"""First contact: received, converted to a patient."""

from services.intake import model, schemas
from services.intake.store import INQUIRIES
from services.intake.usecases.deps import Deps, publish_contact
from services.intake.usecases.patients import add_patient
from shared.events.intake import ContactRecord, InquiryReceived
from shared.ids import new_id
from shared.messaging.outbox import emit, emit_tombstone
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document


async def receive_inquiry(unit: UnitOfWork, deps: Deps, body: schemas.NewInquiry) -> Document:
    now, identifier = unit.clock.clinical_now(), new_id()
    contact = body.contact.model_dump()
    sealed = await deps.vault.encrypt_first(unit, identifier, contact)
    fields = {"channel": body.channel, "state": "open", "patient_id": None}
    inquiry = as_document(identifier, now, **fields, contact=sealed, transport_kid=deps.transport.current)
    await unit.collection(INQUIRIES).insert(inquiry)
    publish_contact(unit, deps, identifier, 1, contact)
    event = InquiryReceived(inquiry_id=identifier, channel=body.channel, self_referred=body.self_referred)
    emit(unit, event, aggregate=f"inquiry/{identifier}", version=1)
    audit(unit, "inquiry.receive", f"inquiry/{identifier}")
    return inquiry


async def convert_inquiry(unit: UnitOfWork, deps: Deps, inquiry_id: str, body: schemas.Conversion) -> Document:
    """The patient's contact record is written before the inquiry's tombstone. Raises NotFound, Conflict."""
    patient_id = new_id()
    inquiry = await unit.collection(INQUIRIES).get(inquiry_id)
    after = model.convert(inquiry, patient_id, unit.clock.clinical_now())
    contact = await deps.vault.decrypt(unit, inquiry_id, inquiry["contact"])
    await unit.collection(INQUIRIES).replace_versioned(after)
    patient = await add_patient(unit, deps, patient_id, contact, **body.model_dump(), inquiry_id=inquiry_id)
    tombstone = f"contact/{inquiry_id}"
    emit_tombstone(unit, ContactRecord, inquiry_id, aggregate=tombstone, version=after["version"])
    await deps.vault.shred(unit, inquiry_id)
    audit(unit, "inquiry.convert", f"inquiry/{inquiry_id}", patient_id=patient_id)
    return patient
