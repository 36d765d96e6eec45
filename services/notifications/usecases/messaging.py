"""A message is an intent first, written in the transaction of its cause; the senders act on the rows later."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.notifications.calendar_file import calendar_file
from services.notifications.messages import MAIL_GIVES_UP, PAGE_GIVES_UP, local_time, quiet_until
from services.notifications.store import CONTACTS, MESSAGES
from services.notifications.usecases.deps import Deps, Prepared
from services.notifications.usecases.preferences import allowed
from services.notifications.usecases.tasks import add_task
from shared.errors import Conflict
from shared.events.notifications import NotificationFailed
from shared.ids import derived_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer
from shared.persistence.vault import Erased

CONTACT_WAIT = timedelta(hours=1)
CLAIM = timedelta(seconds=10)
UNSENT = ("waiting", "quiet", "pending")


async def tell(unit: UnitOfWork, deps: Deps, template: str, subject_id: str, cause: str, facts: Document) -> bool:
    """Intend one message to a patient or inquirer; False when this cause was told already or the subject is erased.

    `facts`: ids and times only (`start`, `end`, `time_zone`, `appointment_id`, `sequence`, `method`). Without a contact
    yet it waits for it; after an hour people are told instead.
    """
    identifier = derived_id("message", unit.scope.clinic_id, template, cause)
    if await unit.collection(MESSAGES).find_one({"_id": identifier}):
        return False
    contact = await unit.collection(CONTACTS).find_one({"_id": subject_id})
    if contact and contact["erased"]:
        return False
    row = _new(unit, identifier, template, deps.texts.version, subject_id, urgent=False)
    row |= {"facts": facts, "channel": "email"}
    if contact is None or contact["sealed"] is None:
        await _wait_for_contact(unit, subject_id)
        due = unit.clock.system_now() + CONTACT_WAIT
        await set_timer(
            unit, "contact_deadline", f"contact:{identifier}", due, {"message_id": identifier}, clock="system"
        )
    else:
        row = await _address(unit, deps, row, contact)
    await unit.collection(MESSAGES).insert(row)
    return True


async def _wait_for_contact(unit: UnitOfWork, subject_id: str) -> None:
    """Write into the contact's row too, so that a contact that comes at this moment conflicts and one sees the other.

    Without it both would commit on their own snapshots, and the message would wait for ever.
    """
    stub = {"schema_version": 1, "version": 0, "erased": False, "sealed": None}
    change = {"$setOnInsert": stub, "$inc": {"awaited": 1}}
    await unit.collection(CONTACTS).update({"_id": subject_id}, change, upsert=True)


def _new(unit: UnitOfWork, identifier: str, template: str, version: str, subject_id: str, *, urgent: bool) -> Document:
    now = unit.clock.system_now()
    return as_document(
        identifier,
        now,
        template=template,
        template_version=version,
        subject_id=subject_id,
        urgent=urgent,
        state="waiting",
        code=None,
        round=0,
        attempts=[],
        sealed=None,
        facts={},
        next_at=now,
        claimed_by=None,
        claimed_until=now,
        give_up_at=now + (PAGE_GIVES_UP if urgent else MAIL_GIVES_UP),
        traceparent=unit.scope.traceparent,
    )


async def complete_waiting(unit: UnitOfWork, deps: Deps, contact: Document) -> None:
    """The contact has arrived: what waited for it goes on."""
    messages = unit.collection(MESSAGES)
    for row in await messages.find({"subject_id": contact["_id"], "state": "waiting"}, limit=100):
        after = await _address(unit, deps, row, contact)
        await messages.replace_versioned(after | {"version": row["version"] + 1, "updated_at": unit.clock.system_now()})
        await cancel_timer(unit, f"contact:{row['_id']}")


async def _address(unit: UnitOfWork, deps: Deps, row: Document, contact: Document) -> Document:
    """Choose the channel, write the text for it, encrypt both; or say why it cannot be sent."""
    subject_id = row["subject_id"]
    person = await deps.vault.decrypt(unit, subject_id, contact["sealed"])
    wanted = await allowed(unit, subject_id)
    offered = [(channel, person.get(field)) for channel, field in (("email", "email"), ("sms", "phone"))]
    open_to = [(channel, to) for channel, to in offered if to and wanted[channel]]
    if not open_to:
        code = "opted_out" if any(to for _, to in offered) else "no_address"
        if code == "no_address":
            await add_task(unit, "contact_missing", f"patient/{subject_id}", row["_id"])
        return row | {"state": "suppressed", "code": code}
    channel, to = open_to[0]
    payload = _payload(deps, row, person, channel, to)
    sealed = await deps.vault.encrypt(unit, subject_id, payload)
    row = row | {"channel": channel, "sealed": sealed, "state": "pending", "next_at": unit.clock.system_now()}
    quiet = quiet_until(deps.texts, unit.clock.clinical_now(), _zone(row, person)) if channel == "sms" else None
    if quiet:
        await set_timer(unit, "quiet_over", f"quiet:{row['_id']}", quiet, {"message_id": row["_id"]})
        return row | {"state": "quiet"}
    unit.after_commit(deps.mails.wake)
    return row


def _zone(row: Document, person: Document) -> str | None:
    zone: str | None = person.get("time_zone") or row["facts"].get("time_zone")
    return zone


def _payload(deps: Deps, row: Document, person: Document, channel: str, to: str) -> Document:
    facts, words = row["facts"], {"name": person.get("name", "")}
    if "start" in facts:
        words["start"] = local_time(facts["start"], facts.get("time_zone") or deps.texts.time_zone)
    text = deps.texts.render(row["template"], "sms" if channel == "sms" else "email", person.get("language", ""), words)
    payload = {
        "routes": [[channel, to]],
        "subject": text.subject,
        "text": text.text,
        "calendar": None,
        "method": "REQUEST",
    }
    if channel == "email" and "method" in facts:
        payload["method"] = facts["method"]
        payload["calendar"] = calendar_file(
            facts["appointment_id"],
            facts["sequence"],
            facts["start"],
            facts["end"],
            method=facts["method"],
            organizer=deps.mail_from,
            attendee=to,
            now=row["created_at"],
        )
    return payload


async def give_up_waiting(unit: UnitOfWork, message_id: str) -> None:
    """No contact came in time: the message stays, and people are told. A contact that comes later still completes it."""
    row = await unit.collection(MESSAGES).find_one({"_id": message_id, "state": "waiting"})
    if row:
        await add_task(unit, "contact_missing", f"patient/{row['subject_id']}", message_id)


async def end_quiet(unit: UnitOfWork, deps: Deps, message_id: str) -> None:
    change = {"$set": {"state": "pending", "next_at": unit.clock.system_now()}, "$inc": {"version": 1}}
    await unit.collection(MESSAGES).update({"_id": message_id, "state": "quiet"}, change)
    unit.after_commit(deps.mails.wake)


async def resend(unit: UnitOfWork, deps: Deps, message_id: str) -> Document:
    """A person wants it again: a new round with new provider keys, to the address that is known now.

    Raises NotFound; Conflict for a page, whose moment is over, and while it is still being sent.
    """
    row = await unit.collection(MESSAGES).get(message_id)
    if row["urgent"] or row["state"] in UNSENT:
        raise Conflict(reasons=[{"code": "page" if row["urgent"] else "not_sent_yet"}])
    contact = await unit.collection(CONTACTS).find_one({"_id": row["subject_id"]})
    if contact is None or contact["sealed"] is None:
        raise Conflict(reasons=[{"code": "no_contact"}])
    now = unit.clock.system_now()
    again = row | {"round": row["round"] + 1, "code": None, "give_up_at": now + MAIL_GIVES_UP, "claimed_until": now}
    again = await _address(unit, deps, again, contact) | {"version": row["version"] + 1, "updated_at": now}
    await unit.collection(MESSAGES).replace_versioned(again)
    audit(unit, "message.resend", f"message/{message_id}", patient_id=row["subject_id"])
    return again


async def cancel(unit: UnitOfWork, query: Document, code: str) -> None:
    change = {"$set": {"state": "cancelled", "code": code}, "$inc": {"version": 1}}
    await unit.collection(MESSAGES).update_many({**query, "state": {"$in": list(UNSENT)}}, change)


async def shred_messages(unit: UnitOfWork, subject_id: str) -> None:
    """The subject's key is destroyed elsewhere in this transaction; the rows stay, without text and address."""
    await cancel(unit, {"subject_id": subject_id}, "erased")
    await unit.collection(MESSAGES).update_many({"subject_id": subject_id}, {"$set": {"sealed": None, "facts": {}}})


# Pages


async def known_pages(unit: UnitOfWork, identifiers: Sequence[str]) -> set[str]:
    """Those of these pages that exist already."""
    return {row["_id"] for row in await unit.collection(MESSAGES).find({"_id": {"$in": list(identifiers)}})}


async def reached_somebody(unit: UnitOfWork, escalation_id: str) -> bool:
    """Whether a page of this escalation was delivered."""
    return await unit.collection(MESSAGES).find_one({"escalation_id": escalation_id, "state": "delivered"}) is not None


async def add_page(
    unit: UnitOfWork,
    deps: Deps,
    identifier: str,
    staff_id: str,
    payload: Document,
    *,
    escalation_id: str | None,
    raised_at: datetime,
) -> None:
    """A new page with its first attempt, claimed by this process: after the commit its sender calls the pager at once."""
    subject_id = f"staff/{staff_id}"
    row = _new(unit, identifier, "page", deps.policy.version, subject_id, urgent=True)
    channel = payload["routes"][0][0]
    row |= {
        "state": "pending",
        "channel": channel,
        "escalation_id": escalation_id,
        "facts": {"raised_at": raised_at},
        "sealed": await deps.vault.encrypt(unit, subject_id, payload),
        "attempts": [new_attempt(row, f"{channel}.0")],
        "claimed_by": deps.holder,
        "claimed_until": unit.clock.system_now() + CLAIM,
    }
    await unit.collection(MESSAGES).insert(row)
    row["clinic_id"] = unit.scope.clinic_id
    unit.after_commit(lambda: deps.pages.give(Prepared(row, payload)))


def new_attempt(row: Document, route: str) -> Document:
    """The key is the provider's idempotency key or the Message-ID: the same for each attempt of a round by one route."""
    key = derived_id("attempt", row["_id"], str(row["round"]), route)
    at = row["updated_at"]
    return {
        "no": len(row["attempts"]) + 1,
        "round": row["round"],
        "route": route,
        "key": key,
        "at": at,
        "sends": 1,
        "result": None,
    }


async def fail(unit: UnitOfWork, row: Document, code: str) -> Document:
    """It will not be sent any more: say so, and give people the work."""
    after = row | {"state": "failed", "code": code}
    attempts = len(row["attempts"])
    event = NotificationFailed(
        notification_id=row["_id"], template=row["template"], channel=row["channel"], attempts=attempts, error_code=code
    )
    emit(unit, event, aggregate=f"message/{row['_id']}", version=row["version"])
    await add_task(unit, "message_failed", f"message/{row['_id']}", row["_id"])
    return after


async def read_text(unit: UnitOfWork, deps: Deps, row: Document) -> str | None:
    """The text as it was sent; None when it is erased or was never written. The read is audited."""
    audit(unit, "message.read", f"message/{row['_id']}", patient_id=None if row["urgent"] else row["subject_id"])
    if row["sealed"] is None:
        return None
    try:
        text: str | None = (await deps.vault.decrypt(unit, row["subject_id"], row["sealed"])).get("text")
    except Erased:
        return None
    return text
