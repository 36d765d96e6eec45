"""Intents as rows: the message, its attempt's id and the escalation are one transaction; the sender acts later."""

import hashlib
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.notifications.escalation import EscalationPolicy, addressees
from services.notifications.messages import MessageTexts, page_text
from services.notifications.store import CONTACTS, ESCALATIONS, LINKS, MESSAGES, ROTA, STAFF
from shared.errors import Gone, NotFound
from shared.events.intake import ContactRecord
from shared.events.monitoring import VitalsAbnormal
from shared.events.notifications import EscalationAcknowledged, EscalationStarted, EscalationStepTaken
from shared.ids import derived_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer
from shared.persistence.vault import TransportCipher, Vault

LINK_HOURS = 12
CONTACT_HOURS = 48


@dataclass(frozen=True)
class Deps:
    vault: Vault
    transport: TransportCipher
    policy: EscalationPolicy
    texts: MessageTexts
    fallback_pager: str
    public_url: str
    wake_pager: Callable[[], None]


# Contacts


async def know_contact(unit: UnitOfWork, deps: Deps, record: ContactRecord) -> None:
    """Decrypt from the topic, encrypt for this service; the highest version wins; waiting messages go on."""
    known = await unit.collection(CONTACTS).find_one({"_id": record.subject_id})
    if known and known["version"] >= record.version:
        return
    contact = deps.transport.decrypt(record.subject_id, b64decode(record.sealed))
    sealed = await deps.vault.encrypt(unit, record.subject_id, contact)
    row = {"_id": record.subject_id, "schema_version": 1, "version": record.version, "sealed": sealed}
    await unit.collection(CONTACTS).put(row)
    ready = {"$set": {"state": "pending", "next_at": unit.clock.system_now()}}
    await unit.collection(MESSAGES).update_many({"subject_id": record.subject_id, "state": "waiting"}, ready)


async def forget_contact(unit: UnitOfWork, deps: Deps, subject_id: str) -> None:
    await deps.vault.shred(unit, subject_id)
    await unit.collection(CONTACTS).delete({"_id": subject_id})


# E-mail


async def mail(unit: UnitOfWork, template: str, subject_id: str, cause: str, facts: Mapping[str, object]) -> None:
    """One message per template and cause. Without a contact yet it waits for it."""
    identifier = derived_id("mail", template, cause)
    if await unit.collection(MESSAGES).find_one({"_id": identifier}):
        return
    contact = await unit.collection(CONTACTS).find_one({"_id": subject_id})
    if contact is None:
        # The stub makes us collide with a contact that arrives in this moment; two reads alone would miss each other.
        await unit.collection(CONTACTS).insert({"_id": subject_id, "schema_version": 1, "version": 0, "sealed": None})
    known = contact is not None and contact["sealed"] is not None
    await _add_message(
        unit, identifier, "email", template, subject_id, dict(facts), state="pending" if known else "waiting"
    )


async def _add_message(
    unit: UnitOfWork, identifier: str, channel: str, template: str, subject_id: str, facts: Document, *, state: str
) -> None:
    now = unit.clock.system_now()
    times = {"next_at": now, "give_up_at": now + timedelta(hours=CONTACT_HOURS), "claimed_until": None}
    fields = {
        "channel": channel,
        "template": template,
        "subject_id": subject_id,
        "facts": facts,
        "urgent": channel == "pager",
    }
    message = as_document(
        identifier, now, state=state, attempts=[], traceparent=unit.scope.traceparent, **fields, **times
    )
    await unit.collection(MESSAGES).insert(message)


# Escalation


async def start(unit: UnitOfWork, deps: Deps, event: VitalsAbnormal) -> bool:
    """One escalation per alarm; its first page is a row of this transaction. False when it is known already."""
    identifier, now = derived_id("escalation", event.alarm_id), unit.clock.clinical_now()
    if await unit.collection(ESCALATIONS).find_one({"_id": identifier}):
        return False
    facts = event.model_dump(include={"session_id", "room", "chair", "signs", "rule", "priority", "raised_at"})
    staff = [person.model_dump() for person in event.responsible_staff]
    escalation = as_document(
        identifier,
        now,
        alarm_id=event.alarm_id,
        patient_id=event.patient_id,
        state="paging",
        step=-1,
        base=now,
        staff=staff,
        **facts,
    )
    emit(
        unit,
        EscalationStarted(patient_id=event.patient_id, escalation_id=identifier, alarm_id=event.alarm_id),
        aggregate=f"escalation/{identifier}",
        version=1,
    )
    await unit.collection(ESCALATIONS).insert(escalation)
    await take_step(unit, deps, identifier, 0)
    return True


async def take_step(unit: UnitOfWork, deps: Deps, identifier: str, number: int) -> None:
    """Page the step's people and set the timer of the next; a step without anybody falls through to the next."""
    escalation = await unit.collection(ESCALATIONS).get(identifier)
    if escalation["state"] != "paging":
        return
    rota = await unit.collection(ROTA).find_one({"_id": unit.scope.clinic_id}) or {}
    people: list[str] = []
    while True:
        step = deps.policy.step(number)
        people = addressees(step.role, escalation["staff"], rota.get("on_call", {}))
        if people or number >= len(deps.policy.steps) - 1:
            break
        number += 1
    for person in people or ["fallback"]:
        await _page(unit, deps, escalation, person, number)
    after = {**escalation, "step": number, "version": escalation["version"] + 1}
    await unit.collection(ESCALATIONS).replace_versioned(after)
    taken = EscalationStepTaken(
        patient_id=escalation["patient_id"],
        escalation_id=identifier,
        alarm_id=escalation["alarm_id"],
        step=number,
        role=step.role,
    )
    emit(unit, taken, aggregate=f"escalation/{identifier}", version=after["version"])
    payload = {"escalation_id": identifier, "step": number + 1}
    due = deps.policy.due(escalation["base"], number + 1)
    await set_timer(unit, "escalate", f"escalate:{identifier}", due, payload, priority=0)
    unit.after_commit(deps.wake_pager)


async def _page(unit: UnitOfWork, deps: Deps, escalation: Document, staff_id: str, number: int) -> None:
    identifier = derived_id("page", escalation["_id"], escalation["base"].isoformat(), str(number), staff_id)
    contact = await unit.collection(STAFF).find_one({"_id": staff_id})
    pager = contact["pager"] if contact else deps.fallback_pager
    token = secrets.token_urlsafe(24)
    expires = unit.clock.system_now() + timedelta(hours=LINK_HOURS)
    link = {"_id": _hash(token), "escalation_id": escalation["_id"], "staff_id": staff_id, "expires_at": expires}
    await unit.collection(LINKS).insert({**link, "role": deps.policy.step(number).role})
    text = page_text(
        escalation["room"],
        escalation["chair"],
        escalation["signs"],
        escalation["priority"],
        escalation["raised_at"],
        unit.clock.clinical_now(),
        deps.policy.old_after_s,
    )
    url = f"{deps.public_url}/v1/links/{token}"
    secret = await deps.vault.encrypt(unit, escalation["_id"], {"to": pager, "text": text, "link": url})
    facts = {"secret": secret, "clinic_id": unit.scope.clinic_id, "step": number}
    await _add_message(unit, identifier, "pager", "page", escalation["_id"], facts, state="pending")


async def accept(unit: UnitOfWork, deps: Deps, alarm_id: str) -> None:
    """Paging stops; it resumes when nobody is at the chair within the policy's time. Idempotent by state."""
    identifier = derived_id("escalation", alarm_id)
    escalation = await unit.collection(ESCALATIONS).find_one({"_id": identifier})
    if escalation is None or escalation["state"] != "paging":
        return
    await _stop(unit, escalation, "accepted")
    if escalation["priority"] == "high":
        due = unit.clock.clinical_now() + timedelta(seconds=deps.policy.attend_within_s)
        await set_timer(unit, "not_attended", f"escalate:{identifier}", due, {"escalation_id": identifier}, priority=0)


async def resume(unit: UnitOfWork, deps: Deps, identifier: str) -> None:
    """Accepted, but nobody came: from the first step again."""
    escalation = await unit.collection(ESCALATIONS).get(identifier)
    if escalation["state"] != "accepted":
        return
    now = unit.clock.clinical_now()
    again = {**escalation, "state": "paging", "base": now, "step": -1, "version": escalation["version"] + 1}
    await unit.collection(ESCALATIONS).replace_versioned(again)
    await take_step(unit, deps, identifier, 0)


async def end(unit: UnitOfWork, alarm_id: str, state: str) -> None:
    """Attended or cleared. Idempotent by state; what is cleared never goes back."""
    escalation = await unit.collection(ESCALATIONS).find_one({"_id": derived_id("escalation", alarm_id)})
    if escalation and escalation["state"] not in ("cleared", state):
        await _stop(unit, escalation, state)


async def _stop(unit: UnitOfWork, escalation: Document, state: str) -> None:
    after = {**escalation, "state": state, "version": escalation["version"] + 1}
    await unit.collection(ESCALATIONS).replace_versioned(after)
    await cancel_timer(unit, f"escalate:{escalation['_id']}")
    moot = {"subject_id": escalation["_id"], "state": "pending", "attempts": []}
    await unit.collection(MESSAGES).update_many(moot, {"$set": {"state": "moot"}})


async def acknowledge(
    unit: UnitOfWork, deps: Deps, escalation_id: str, by: str, by_role: str, channel: str
) -> Document:
    """From a link or the API. Stops the paging here at once and travels to monitoring. Raises NotFound."""
    escalation = await unit.collection(ESCALATIONS).get(escalation_id)
    audit(unit, "escalation.acknowledge", f"escalation/{escalation_id}", patient_id=escalation["patient_id"])
    if escalation["state"] != "paging":
        return escalation
    await accept(unit, deps, escalation["alarm_id"])
    after = await unit.collection(ESCALATIONS).get(escalation_id)
    event = EscalationAcknowledged(
        patient_id=escalation["patient_id"],
        escalation_id=escalation_id,
        alarm_id=escalation["alarm_id"],
        by=by,
        by_role=by_role,
        at=unit.clock.clinical_now(),
        channel="link" if channel == "link" else "api",
    )
    emit(unit, event, aggregate=f"escalation/{escalation_id}", version=after["version"])
    return after


async def open_link(unit: UnitOfWork, token: str) -> tuple[Document, Document]:
    """The link and its escalation. Raises NotFound, Gone."""
    link = await unit.plumbing(LINKS).find_one({"_id": _hash(token)})
    if link is None:
        raise NotFound
    if link["expires_at"] < unit.clock.system_now():
        raise Gone
    escalation = await unit.plumbing(ESCALATIONS).get(link["escalation_id"])
    return link, escalation


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
