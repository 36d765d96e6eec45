"""The person and the contact data."""

from services.intake import model, schemas
from services.intake.facts import patient_facts
from services.intake.store import PATIENTS
from services.intake.usecases.deps import Deps, publish_contact
from shared.events.intake import PatientRegistered, PatientState
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork, as_document


async def add_patient(
    unit: UnitOfWork,
    deps: Deps,
    patient_id: str,
    contact: Document,
    *,
    birth_year: int,
    time_zone: str,
    inquiry_id: str | None,
) -> Document:
    sealed = await deps.vault.encrypt(unit, patient_id, contact)
    fields = {"inquiry_id": inquiry_id, "birth_year": birth_year, "time_zone": time_zone, "contact": sealed}
    fields |= {"transport_kid": deps.transport.current}
    patient = as_document(patient_id, unit.clock.clinical_now(), **fields)
    await unit.collection(PATIENTS).insert(patient)
    publish_contact(unit, deps, patient_id, 1, contact)
    emit(unit, PatientRegistered(**patient_facts(patient)), aggregate=f"patient/{patient_id}", version=1)
    return patient


async def register(unit: UnitOfWork, deps: Deps, body: schemas.NewPatient) -> Document:
    """A patient who comes without an inquiry."""
    identifier, person = new_id(), body.model_dump(exclude={"contact"})
    patient = await add_patient(unit, deps, identifier, body.contact.model_dump(), **person, inquiry_id=None)
    audit(unit, "patient.register", f"patient/{identifier}", patient_id=identifier)
    return patient


async def contact_of(reader: Reader, deps: Deps, patient: Document) -> Document | None:
    """In the clear; None where it was taken away."""
    if patient["contact"] is None:
        return None
    contact: Document = await deps.vault.decrypt(reader, patient["_id"], patient["contact"])
    return contact


async def correct(unit: UnitOfWork, patient_id: str, expected: int, body: schemas.PatientChange) -> Document:
    """Raises NotFound, PreconditionFailed."""
    patient = model.at_version(await unit.collection(PATIENTS).get(patient_id), expected)
    after = model.changed(patient, unit.clock.clinical_now(), **body.model_dump(exclude_none=True))
    await unit.collection(PATIENTS).replace_versioned(after)
    emit(unit, PatientState(**patient_facts(after)), aggregate=f"patient/{patient_id}", version=after["version"])
    audit(unit, "patient.correct", f"patient/{patient_id}", patient_id=patient_id)
    return after


async def change_contact(
    unit: UnitOfWork, deps: Deps, patient_id: str, expected: int, body: schemas.Contact
) -> Document:
    """The whole contact; its record has the patient's new version. Raises NotFound, PreconditionFailed."""
    patient = model.at_version(await unit.collection(PATIENTS).get(patient_id), expected)
    contact = body.model_dump()
    sealed = await deps.vault.encrypt(unit, patient_id, contact)
    now, kid = unit.clock.clinical_now(), deps.transport.current
    after = model.changed(patient, now, contact=sealed, transport_kid=kid)
    await unit.collection(PATIENTS).replace_versioned(after)
    publish_contact(unit, deps, patient_id, after["version"], contact)
    audit(unit, "patient.contact", f"patient/{patient_id}", patient_id=patient_id)
    return after
