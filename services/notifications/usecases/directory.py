"""Who can be paged: staff contacts, the on-call rota, and what other services say of staff, sessions and appointments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from services.notifications import schemas
from services.notifications.store import APPOINTMENTS, ROTA, SESSIONS, STAFF, STAFF_CONTACTS
from services.notifications.usecases.deps import Deps
from shared.errors import VersionConflict
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.persistence.vault import DATA_KEYS, Vault

ROLES = ("nurse", "prescriber", "medical_director", "operator")
_KEEP = timedelta(days=45)
Rota = Mapping[str, Sequence[str]]
Routes = Mapping[str, Sequence[Sequence[str]]]


async def staff_contact(unit: UnitOfWork, deps: Deps, staff_id: str) -> Document:
    """Raises NotFound."""
    row = await unit.collection(STAFF_CONTACTS).get(_staff_key(unit, staff_id))
    audit(unit, "staff_contact.read", f"staff/{staff_id}")
    return {"version": row["version"], **await deps.vault.decrypt(unit, f"staff/{staff_id}", row["sealed"])}


async def set_staff_contact(
    unit: UnitOfWork, deps: Deps, staff_id: str, body: schemas.StaffContact, expected: int | None
) -> int:
    """Raises VersionConflict when If-Match named another version."""
    key = _staff_key(unit, staff_id)
    known = await unit.collection(STAFF_CONTACTS).find_one({"_id": key})
    version = _next_version(known, expected)
    sealed = await deps.vault.encrypt(unit, f"staff/{staff_id}", body.model_dump(exclude_none=True))
    row = {"_id": key, "schema_version": 1, "version": version, "staff_id": staff_id, "sealed": sealed}
    await unit.collection(STAFF_CONTACTS).put(row)
    audit(unit, "staff_contact.set", f"staff/{staff_id}")
    return version


def _staff_key(unit: Reader, staff_id: str) -> str:
    return f"{unit.scope.clinic_id}:{staff_id}"


def _next_version(known: Document | None, expected: int | None) -> int:
    version = int(known["version"]) if known else 0
    if expected is not None and expected != version:
        raise VersionConflict
    return version + 1


async def on_call(unit: Reader) -> Document:
    """The rota as it was set; version 0 before that."""
    found = await unit.collection(ROTA).find_one({"_id": unit.scope.clinic_id})
    return found or {"version": 0, "on_call": {role: [] for role in ROLES}}


async def set_on_call(unit: UnitOfWork, body: schemas.OnCall, expected: int | None) -> int:
    """Raises VersionConflict when If-Match named another version."""
    known = await unit.collection(ROTA).find_one({"_id": unit.scope.clinic_id})
    version = _next_version(known, expected)
    row = {"_id": unit.scope.clinic_id, "schema_version": 1, "version": version, "on_call": body.model_dump()}
    await unit.collection(ROTA).put(row)
    audit(unit, "on_call.set", "on-call")
    return version


@dataclass(frozen=True)
class Book:
    """Who is on call, by role, the ways to page each person (pager first, then SMS), and the numbers for voice calls.

    Who has nothing but such a number is paged by it.
    """

    rota: Rota
    routes: Routes
    voices: Mapping[str, str] = field(default_factory=dict)


async def open_book(reader: Reader, deps: Deps) -> Book:
    """The clinic's, as it was when this caller looked first: a batch of alarms opens it once."""
    name = f"book {reader.scope.clinic_id}"
    if name not in reader.memo:
        reader.memo[name] = await _read_book(reader, deps)
    book: Book = reader.memo[name]
    return book


async def _read_book(reader: Reader, deps: Deps) -> Book:
    """In one visit to the store, beside the transaction: it has no `$unionWith`. Who has no address is in no route."""
    rows: dict[str, list[Document]] = {ROTA: [], STAFF: [], STAFF_CONTACTS: [], DATA_KEYS.collection: []}
    for row in await reader.beside().collection(ROTA).aggregate(_book_stages(reader)):
        name = row.pop("_from")
        rows[name].append(reader.shapes.read(name, row))
    deps.vault.know(reader, rows[DATA_KEYS.collection])
    chosen = rows[ROTA][0]["on_call"] if rows[ROTA] else {}
    routes, voices = await _routes(reader, deps, rows[STAFF_CONTACTS])
    return Book(_rota(chosen, rows[STAFF]), routes, voices)


def _book_stages(reader: Reader) -> list[Document]:
    of_clinic = {"clinic_id": reader.scope.clinic_id}
    others = {STAFF: of_clinic, STAFF_CONTACTS: of_clinic, DATA_KEYS.collection: Vault.keys_of(reader, "staff/")}
    stages: list[Document] = [{"$set": {"_from": ROTA}}]
    for name, query in others.items():
        stages.append({"$unionWith": {"coll": name, "pipeline": [{"$match": query}, {"$set": {"_from": name}}]}})
    return stages


def _rota(on_call: Mapping[str, Sequence[str]], staff: Sequence[Document]) -> Rota:
    """Staff ids by role; a role that nobody set falls back on everybody whom the staff directory gives that role."""
    chosen = {role: list(people) for role, people in on_call.items()}
    empty = {role for role in ROLES if not chosen.get(role)}
    for person in sorted(staff, key=lambda row: str(row["_id"])):
        for role in set(person["roles"]) & empty:
            chosen.setdefault(role, []).append(person["staff_id"])
    return chosen


async def _routes(reader: Reader, deps: Deps, contacts: Sequence[Document]) -> tuple[Routes, Mapping[str, str]]:
    found, voices = dict[str, list[list[str]]](), dict[str, str]()
    for row in contacts:
        contact = await deps.vault.decrypt(reader, f"staff/{row['staff_id']}", row["sealed"])
        routes = [
            [channel, contact[name]] for channel, name in (("pager", "pager"), ("sms", "phone")) if contact.get(name)
        ]
        voice = contact.get("voice") if deps.voice else None
        if voice and routes:
            voices[row["staff_id"]] = voice
        elif voice:
            routes = [["voice", voice]]
        if routes:
            found[row["staff_id"]] = routes
    return found, voices


async def know_staff(unit: UnitOfWork, staff_id: str, roles: Sequence[str], version: str) -> bool:
    """Applied if newer. Someone without roles stays known, and is paged by nobody's rota."""
    key = _staff_key(unit, staff_id)
    known = await unit.collection(STAFF).find_one({"_id": key})
    if known and known["version"] >= version:
        return False
    row = {"_id": key, "schema_version": 1, "version": version, "staff_id": staff_id, "roles": list(roles)}
    await unit.collection(STAFF).put(row)
    return True


async def know_session(
    unit: UnitOfWork,
    session_id: str,
    room: str,
    chair: str,
    staff: Sequence[Mapping[str, str]],
    version: str,
    told_at: str,
) -> bool:
    """Where a session is and who answers for it, as monitoring told at `told_at`: what a silent device cannot say itself."""
    known = await unit.collection(SESSIONS).find_one({"_id": session_id})
    if known and known["version"] >= version:
        return False
    purge_at = unit.clock.system_now() + _KEEP
    row = {"_id": session_id, "schema_version": 1, "version": version, "purge_at": purge_at, "told_at": told_at}
    await unit.collection(SESSIONS).put(
        {**row, "room": room, "chair": chair, "responsible": [dict(person) for person in staff]}
    )
    return True


async def session_place(unit: UnitOfWork, session_id: str | None) -> Document:
    """Room, chair and responsible staff; none for what is about no session or one that is not known here."""
    found = await unit.collection(SESSIONS).find_one({"_id": session_id}) if session_id else None
    return found or {"room": None, "chair": None, "responsible": []}


async def know_appointment(unit: UnitOfWork, appointment_id: str, version: str, fields: Document) -> bool:
    """Applied if newer, so that a reminder finds the time that counts."""
    known = await unit.collection(APPOINTMENTS).find_one({"_id": appointment_id})
    if known and known["version"] >= version:
        return False
    before = known or {}
    purge_at = unit.clock.system_now() + _KEEP
    if "end" in fields:
        purge_at = max(purge_at, fields["end"] + _KEEP)
    row = {**before, **fields, "_id": appointment_id, "schema_version": 1, "version": version, "purge_at": purge_at}
    await unit.collection(APPOINTMENTS).put(row)
    return True


async def appointment(unit: UnitOfWork, appointment_id: str) -> Document | None:
    return await unit.collection(APPOINTMENTS).find_one({"_id": appointment_id})
