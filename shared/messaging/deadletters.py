"""Dead letters: records that can never be handled as they are, with their bytes, until somebody redrives or drops them."""

from shared.events.envelope import BadRecord, read_record
from shared.messaging.record import Record
from shared.messaging.topics import Topic
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

DEAD_LETTERS = "dead_letters"
UNKNOWN_TYPE = "type_unknown"
_SCOPE = system_scope("-", "deadletters")


def place_of(group: str, record: Record) -> str:
    return f"{group}|{record.topic}|{record.partition}|{record.offset}"


async def keep(mongo: Mongo, group: str, record: Record, code: str) -> None:
    """Committed before the offset. The id is the record's place, so a second rejection changes nothing."""
    clinic_id, event_type = _origin(record)

    async def work(unit: UnitOfWork) -> None:
        row = {
            "clinic_id": clinic_id,
            "state": "open",
            "code": code,
            "type": event_type,
            "group": group,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": record.key,
            "value": record.value,
            "headers": [[name, item] for name, item in record.headers],
            "at": unit.clock.system_now(),
        }
        await unit.plumbing(DEAD_LETTERS).update({"_id": place_of(group, record)}, {"$setOnInsert": row}, upsert=True)

    await mongo.run(_SCOPE, work)


async def forget_letters(unit: UnitOfWork, topic: Topic, key: str) -> None:
    """What of a restricted topic could not be handled and is about somebody who is erased."""
    await unit.plumbing(DEAD_LETTERS).delete({"topic": topic.name, "key": key.encode()})


def _origin(record: Record) -> tuple[str, str | None]:
    """Clinic and type, as far as they can be read."""
    try:
        envelope, _ = read_record(record.headers, record.value)
    except BadRecord:
        texts = {name: (item or b"").decode(errors="replace") for name, item in record.headers}
        return texts.get("ce_clinicid", "-"), texts.get("ce_type")
    return envelope.clinic_id, envelope.type


async def close(mongo: Mongo, identifier: str, state: str, by: str, reason: str | None = None) -> bool:
    """`redriven` or `dropped`; the row stays as long as inbox marks. False when somebody else closed it first."""

    async def work(unit: UnitOfWork) -> int:
        closed: Document = {"state": state, "closed_by": by, "reason": reason, "closed_at": unit.clock.system_now()}
        return await unit.plumbing(DEAD_LETTERS).update({"_id": identifier, "state": "open"}, {"$set": closed})

    return bool(await mongo.run(_SCOPE, work))
