"""One-time links: no bearer token. GET shows, POST acts. Plain HTML with a form; no script runs, nothing is loaded."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from services.notifications.messages import SIGN_NAMES
from services.notifications.usecases import escalations, links
from shared.errors import Gone, NotFound
from shared.persistence.mongo import Document
from shared.persistence.scope import Actor, Scope, system_scope
from shared.telemetry.tracing import current_traceparent
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.runtime import Runtime

router = APIRouter()
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STATES = {
    "paging": "nobody has accepted yet",
    "accepted": "accepted",
    "attended": "somebody is at the chair",
    "ended": "over",
}
_PAGE: dict[str, Any] = {"description": "A page for a person", "content": {"text/html": {}}}
_HTML = problems() | dict.fromkeys((200, 404, 410), _PAGE)


@router.get("/v1/links/{token}", response_class=HTMLResponse, responses=_HTML)
async def show_link(token: str, request: Request) -> Response:
    """Shows only: a scanner that follows links acknowledges nothing."""
    runtime: Runtime = request.app.state.runtime
    reader = runtime.mongo.reader(system_scope("-", "links"))
    try:
        link = await links.open_link(reader, token)
        row = await runtime.mongo.run(_scope(link), lambda unit: escalations.read(unit, link["escalation_id"]))
    except (NotFound, Gone) as error:
        return _page(error.status, f"<p>{escape(error.title)}. Look at the board.</p>")
    open_to_act = row["phase"] == "paging" and link["used_at"] is None
    form = '<form method="post"><button type="submit">I am on my way</button></form>' if open_to_act else ""
    return _page(200, _describe(row) + form)


@router.post("/v1/links/{token}", response_class=HTMLResponse, responses=_HTML)
@nurse_route
async def use_link(token: str, request: Request) -> Response:
    """Acknowledges the alarm, once; used again it shows the state and changes nothing."""
    runtime: Runtime = request.app.state.runtime
    reader = runtime.mongo.reader(system_scope("-", "links"))
    try:
        link = await links.open_link(reader, token)
        row = await runtime.mongo.run(_scope(link), lambda unit: escalations.use_link(unit, runtime.deps, token))
    except (NotFound, Gone) as error:
        return _page(error.status, f"<p>{escape(error.title)}. Look at the board.</p>")
    return _page(200, _describe(row) + "<p>Please confirm at the chair.</p>")


def _scope(link: Document) -> Scope:
    """Whoever holds the link is the one whom it was sent to."""
    return Scope(link["clinic_id"], Actor(link["staff_id"], link["role"]), traceparent=current_traceparent())


def _describe(row: Document) -> str:
    place = ", ".join(part for part in (row["room"], f"chair {row['chair']}" if row["chair"] else None) if part)
    signs = ", ".join(f"{SIGN_NAMES.get(s['sign'], s['sign'])} {s['value']:g} {s['unit']}" for s in row["signs"])
    lines = [f"{row['priority']} {row['kind']}", place or "place unknown, look at the board", signs or row["what"]]
    lines.append(f"State: {_STATES[row['phase']]}")
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)


def _page(status: int, body: str) -> Response:
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Stillwater alarm</title>'
    text = f'<!doctype html><html lang="en"><head>{head}</head><body><h1>Stillwater alarm</h1>{body}</body></html>'
    return Response(text, status, HEADERS, media_type="text/html")
