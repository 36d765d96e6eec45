"""From a step, an emergency or a silence to the page rows of people. A page names room, chair, sign and value: nobody."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.notifications.escalation import Taken
from services.notifications.messages import text_of
from services.notifications.usecases import directory
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.directory import Book
from services.notifications.usecases.links import make_link
from services.notifications.usecases.messaging import add_page, known_pages
from shared.events.envelope import rfc3339
from shared.ids import derived_id
from shared.persistence.mongo import Document, UnitOfWork

FALLBACK = "fallback"


async def page_step(unit: UnitOfWork, deps: Deps, row: Document, taken: Taken, book: Book) -> None:
    """One page per person, all new, for a step is taken once; the fallback pager when it reaches nobody and at the end.

    Where the step asks for voice, whoever has a number for it is called beside the page.
    """
    people = [*taken.people, FALLBACK] if taken.exhausted or not taken.people else list(taken.people)
    for person in people:
        role = FALLBACK if person == FALLBACK else taken.role
        link = await make_link(unit, deps, row["_id"], person, role)
        facts = {name: row[name] for name in ("alarm_id", "kind", "priority", "room", "chair", "signs", "what")}
        facts |= {"escalation_id": row["_id"], "step": taken.state.step, "run": taken.state.run, "link": link}
        about: dict[str, Any] = {"escalation_id": row["_id"], "raised_at": row["raised_at"]}
        for kind, routes in ways(book, taken, person):
            identifier = derived_id(kind, row["_id"], str(taken.state.run), str(taken.state.step), person)
            payload = _payload(unit, deps, facts, row["raised_at"], routes)
            await add_page(unit, deps, identifier, person, payload, **about)


def ways(book: Book, taken: Taken, person: str) -> list[tuple[str, Sequence[Sequence[str]] | None]]:
    """What a step sends to somebody, each with its routes; None: the fallback pager."""
    found: list[tuple[str, Sequence[Sequence[str]] | None]] = [("page", book.routes.get(person))]
    if taken.voice and person in book.voices:
        found.append(("voice", [["voice", book.voices[person]]]))
    return found


async def page_once(
    unit: UnitOfWork, deps: Deps, cause: str, roles: Sequence[str], facts: Document, raised_at: datetime
) -> bool:
    """Page everybody on call in these roles, once per cause; nobody reachable: the fallback pager. False when repeated."""
    book = await directory.open_book(unit, deps)
    people = dict.fromkeys(person for role in roles for person in book.rota.get(role, ()))
    return await _page_all(unit, deps, cause, list(people), book.routes, facts, raised_at)


async def page_everybody(unit: UnitOfWork, deps: Deps, cause: str, facts: Document, raised_at: datetime) -> bool:
    """All staff at once."""
    routes = (await directory.open_book(unit, deps)).routes
    return await _page_all(unit, deps, cause, list(routes), routes, facts, raised_at)


async def _page_all(
    unit: UnitOfWork,
    deps: Deps,
    cause: str,
    people: Sequence[str],
    routes: Mapping[str, Sequence[Sequence[str]]],
    facts: Document,
    raised_at: datetime,
) -> bool:
    reached = [who for who in people if who in routes] or [FALLBACK]
    pages = {derived_id("page", unit.scope.clinic_id, cause, person): person for person in reached}
    known = await known_pages(unit, list(pages))
    for identifier, person in pages.items():
        if identifier not in known:
            payload = _payload(unit, deps, facts, raised_at, routes.get(person))
            await add_page(unit, deps, identifier, person, payload, escalation_id=None, raised_at=raised_at)
    return len(known) < len(pages)


def _payload(
    unit: UnitOfWork, deps: Deps, facts: Document, raised_at: datetime, routes: Sequence[Sequence[str]] | None
) -> Document:
    alarm: dict[str, Any] = {"kind": "alarm", "priority": "high", **facts, "raised_at": rfc3339(raised_at)}
    now = unit.clock.clinical_now()
    chosen = [list(route) for route in routes or [["pager", deps.fallback_pager]]]
    text = text_of(chosen[0][0], alarm, raised_at, now, deps.policy.old_after_s)
    return {"routes": chosen, "text": text, "alarm": alarm}
