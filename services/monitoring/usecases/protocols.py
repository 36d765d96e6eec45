"""A clinic's own versions of its protocols: drafted, compared, signed by its medical director, and then in effect."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.monitoring.differing import Difference, differences
from services.monitoring.limits import strangers
from services.monitoring.protocol import DOSING, DosingProtocol, SessionProtocol, beyond, canonical, digest, model_of
from services.monitoring.store import PROTOCOLS, protocol_in_effect, protocol_of_version, protocol_signed_last
from services.monitoring.usecases.deps import Deps
from shared.errors import Conflict, FieldError, Invalid, NotFound, VersionConflict
from shared.events.monitoring import WITHOUT_DOSE
from shared.ids import new_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork, as_document
from shared.protocols import Fault, ProtocolError, Steps, known_names, line_of, parse, read

TEXT_CHARS = 60_000
HASH_SHOWN = 12
CLOCK_TOLERANCE = timedelta(minutes=5)  # so much may the clock of whoever drafts be behind
KNOWN = frozenset(known_names(DosingProtocol))


def subject_of(kind: str, route: str | None) -> str | None:
    """Of which protocol a session is: by its plan's route only where a dose may be given.

    In a group of no route nobody is dosed by that of another one.
    """
    dosed = kind == DOSING or (kind not in WITHOUT_DOSE and route is not None)
    return route if dosed else kind


async def pin(unit: UnitOfWork, deps: Deps, subject: str | None) -> Document:
    """What a session keeps of the protocol of its route or kind that is in effect now.

    It carries the content of its clinic's own version: no later signature, and no store that is gone, changes what it
    is judged by.
    """
    base = deps.protocol_of_route(subject)
    own = await protocol_in_effect(unit, base.subject, unit.clock.clinical_now())
    if own is None:
        return {"protocol_version": base.version, "protocol_content": None}
    return {"protocol_version": own["version_id"], "protocol_content": own["content"]}


async def draft(
    unit: UnitOfWork, deps: Deps, content: Any, yaml: str | None, effective_at: datetime | None = None
) -> Document:
    """Raises Invalid with every fault and every hard bound that is broken, Conflict for a version that is there."""
    if effective_at is not None and effective_at < unit.clock.clinical_now() - CLOCK_TOLERANCE:
        raise Invalid(errors=[FieldError("/effective_at", "is in the past", "in_the_past")])
    text, protocol = await asyncio.to_thread(_checked, deps, content, yaml)
    hashed = digest(text)
    version_id = f"{protocol.version}+{hashed[:HASH_SHOWN]}"
    if await protocol_of_version(unit, version_id):
        raise Conflict(reasons=[{"code": "exists", "detail": "This version with this content is there already."}])
    made = as_document(
        new_id(),
        unit.clock.clinical_now(),
        version_id=version_id,
        subject=protocol.subject,
        kind=protocol.kind,
        route=protocol.route,
        content=text,
        digest=hashed,
        base=await _version_signed_last(unit, deps, protocol.subject),
        state="draft",
        effective_at=effective_at,
        effective_until=None,
        created_by=unit.scope.actor.id,
        signed_at=None,
        signed_by=None,
    )
    await unit.collection(PROTOCOLS).insert(made)
    audit(unit, "protocol.draft", f"protocol/{made['_id']}")
    return made


async def sign(unit: UnitOfWork, deps: Deps, identifier: str, expected: int) -> Document:
    """In effect from its time, or from now, for sessions that begin; until then the former is.

    Raises NotFound, VersionConflict, Conflict, Invalid.
    """
    row, now = await unit.collection(PROTOCOLS).get(identifier), unit.clock.clinical_now()
    if row["version"] != expected:
        raise VersionConflict
    if row["state"] != "draft":
        raise Conflict(reasons=[{"code": "state", "detail": f"The version is {row['state']}; only a draft is signed."}])
    if row["base"] != await _version_signed_last(unit, deps, row["subject"]):
        detail = "Another version was signed since this one was drafted; compare, and draft it again."
        raise Conflict(reasons=[{"code": "base_changed", "detail": detail}])
    await asyncio.to_thread(_checked, deps, orjson.loads(row["content"]), None)
    effective_at = max(row.get("effective_at") or now, now)
    for former in await _in_its_way(unit, row["subject"], effective_at):
        gone = {"state": "superseded", "effective_until": effective_at, "version": former["version"] + 1}
        await unit.collection(PROTOCOLS).replace_versioned({**former, **gone, "updated_at": now})
    signed = {"state": "signed", "signed_at": now, "signed_by": unit.scope.actor.id, "effective_at": effective_at}
    after = {**row, **signed, "version": row["version"] + 1, "updated_at": now}
    await unit.collection(PROTOCOLS).replace_versioned(after)
    audit(unit, f"protocol.sign.{row['digest']}", f"protocol/{identifier}")
    return after


async def _in_its_way(unit: UnitOfWork, subject: str, at: datetime) -> list[Document]:
    """The one that was signed before, and what would have been in effect longer."""
    before = await protocol_signed_last(unit, subject)
    longer = {"subject": subject, "state": "superseded", "effective_until": {"$gt": at}}
    return [*([before] if before else []), *await unit.collection(PROTOCOLS).find(longer)]


async def compare(
    reader: Reader, deps: Deps, identifier: str, against: str | None
) -> tuple[str, str, list[Difference]]:
    """The version `against` (else the base) and this one, with what differs. Raises NotFound for either."""
    row = await reader.collection(PROTOCOLS).get(identifier)
    before = against or row["base"]
    old = filled(deps, await _content(reader, deps, before)) if before else {}
    return before or "(none)", row["version_id"], differences(old, filled(deps, orjson.loads(row["content"])))


def filled(deps: Deps, content: Document) -> Document:
    """With the rules and combinations of the limits that it names: a version says them only where it has its own."""
    limits = content["limits"]
    of_set = {"rules": deps.rules.get(limits, ()), "combinations": deps.combinations.get(limits, ())}
    named = {name: [item.model_dump(mode="json", exclude_unset=True) for item in of_set[name]] for name in of_set}
    return named | {name: value for name, value in content.items() if value is not None}


async def _version_signed_last(reader: Reader, deps: Deps, subject: str) -> str | None:
    own = await protocol_signed_last(reader, subject)
    if own is not None:
        return str(own["version_id"])
    shipped = deps.protocol_of(subject)
    return shipped.version if shipped else None


async def _content(reader: Reader, deps: Deps, version: str) -> Document:
    shipped = deps.protocols.get(version)
    if shipped is not None:
        return shipped.model_dump(mode="json", exclude_unset=True)
    row = await protocol_of_version(reader, version)
    if row is None:
        raise NotFound
    found: Document = orjson.loads(row["content"])
    return found


def _checked(deps: Deps, content: Any, yaml: str | None) -> tuple[str, SessionProtocol]:
    """The canonical text, and what it says. Raises Invalid."""
    if (content is None) == (yaml is None):
        raise Invalid(errors=[FieldError("", "must have exactly one of content and yaml", "one_of")])
    text = canonical(content) if yaml is None else yaml
    if len(text) > TEXT_CHARS:
        raise Invalid(errors=[FieldError("/content", f"must be at most {TEXT_CHARS} characters as JSON", "too_long")])
    try:
        written, root = read(text, "protocol")
        protocol = parse(text, "protocol", model_of(written))
    except ProtocolError as error:
        raise _invalid(error.faults, yaml) from None
    broken = [*beyond(deps.hard_bounds, protocol)]
    if protocol.rules is not None:
        broken += strangers(protocol.rules, deps.combinations.get(protocol.limits, ()))
    if protocol.limits not in deps.rules:
        broken.append((("limits",), "must be the version of a set of limits that is there"))
    if isinstance(protocol, DosingProtocol) and protocol.medicines not in deps.medicines:
        broken.append((("medicines",), "must be the version of a set of medicines that is there"))
    if broken:
        places = ((steps, words, line_of(root, steps)) for steps, words in broken)
        raise _invalid([Fault(line, steps, words, "hard_bound") for steps, words, line in places], yaml)
    return canonical(written), protocol


def _invalid(faults: Sequence[Fault], yaml: str | None) -> Invalid:
    return Invalid("The protocol is not valid.", errors=[_error(fault, yaml) for fault in faults])


def _error(fault: Fault, yaml: str | None) -> FieldError:
    """Names that the sender made up are left out: nothing of the input is echoed."""
    steps = _own_words(fault.steps)
    words = "has a field that is not known" if fault.code == "extra_forbidden" else fault.words
    words += f"; the nearest known name is {fault.hint}" if fault.hint else ""
    if yaml is None:
        return FieldError("".join(f"/{step}" for step in ("content", *steps)), words, fault.code)
    where = ".".join(map(str, steps))
    return FieldError("/yaml", f"line {fault.line}: {where + ': ' if where else ''}{words}", fault.code)


def _own_words(steps: Steps) -> Steps:
    found: list[int | str] = []
    for step in steps:
        if isinstance(step, str) and step not in KNOWN:
            break
        found.append(step)
    return tuple(found)
