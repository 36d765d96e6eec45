"""The live board: a static page that holds no data, and the stream that it reads with the token of whoever signed in."""

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from services.monitoring.board_readers import Reader
from services.monitoring.board_stream import Board
from services.monitoring.routes.edge import Clinical, Edge, edge
from shared.errors import NotFound
from shared.web.problems import problems
from shared.web.reply import Reply
from shared.web.runtime import Runtime
from shared.web.schemas import Body
from shared.web.streams import MEDIA, EventStream, stream_route

router = APIRouter(tags=["board"])
PAGE = Path(__file__).parents[1] / "static" / "board"
FILES = {"board.js": "text/javascript", "board.css": "text/css"}
RETRY = b"retry: 1000\n\n"
_HEADERS = {
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class LoginShown(Body):
    issuer: str
    client_id: str


def _edge(request: Request) -> Edge:
    runtime: Runtime = request.app.state.runtime
    found: Edge = runtime.deps
    return found


def _policy(issuer: str) -> str:
    """Scripts and styles of this service alone, nothing inline; connections to it and to the issuer."""
    parts = urlsplit(issuer)
    own = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
    return f"{own} {parts.scheme}://{parts.netloc}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/board", response_class=HTMLResponse, include_in_schema=False)
async def show_board(request: Request) -> Response:
    """The page."""
    headers = {**_HEADERS, "Content-Security-Policy": _policy(_edge(request).login.issuer)}
    return Response((PAGE / "index.html").read_bytes(), headers=headers, media_type="text/html")


@router.get("/board/login.json", include_in_schema=False)
async def show_login(request: Request) -> Response:
    """Where to sign in."""
    login = _edge(request).login
    return Reply(LoginShown(issuer=login.issuer, client_id=login.client_id)).render()


@router.get("/board/{name}", include_in_schema=False)
async def show_file(name: str) -> Response:
    """The page's script and style."""
    if name not in FILES:
        raise NotFound
    return Response((PAGE / name).read_bytes(), headers=_HEADERS, media_type=FILES[name])


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events: snapshot, values, alarm, chair, gone, beat, bye", "content": {MEDIA: {}}}
}


@router.get("/v1/board/stream", response_class=Response, responses=problems() | _STREAM)
@stream_route
async def stream_board(request: Request, call: Clinical) -> Response:
    """The clinic's board as it changes; with Last-Event-ID first the alarm transitions after it."""
    board = edge(call).board
    await board.noted(call.scope)
    left = call.principal.expires_at - call.runtime.mongo.clock.system_now().timestamp()
    reader = await board.join(call.scope.clinic_id, left)
    frames = _frames(board, reader, request.headers.get("last-event-id"))
    return EventStream(frames, reader.cut, partial(board.leave, reader))


async def _frames(board: Board, reader: Reader, last: str | None) -> AsyncGenerator[bytes, None]:
    yield RETRY
    found = await board.since(reader.clinic_id, last) if last else ()
    for chunk in found or ():
        yield chunk
    yield board.snapshot(reader.clinic_id, "too_old" if found is None else None)
    while chunk := await reader.next():
        yield chunk
