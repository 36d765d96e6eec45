"""What the web may use without a token: a form on a clinic's own pages, by its publishable key."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.routing import iter_route_contexts
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.web.auth import Principal
from shared.web.call import Call
from shared.web.runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__public_form__"
_ASKED = ("Content-Type", "Idempotency-Key", "Publishable-Key")
_TOLD = ("Idempotent-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After")


def public_form(endpoint: F) -> F:
    """Marks a route that pages of the allowed origins may post to (setting `form_origins`)."""
    setattr(endpoint, _MARK, True)
    return endpoint


def is_public_form(endpoint: object) -> bool:
    return getattr(endpoint, _MARK, False) is True


def form_call(request: Request, publishable_key: str, clinic_id: str) -> Call:
    """Who sends the form: nobody in particular, of one clinic; raises TooManyRequests."""
    runtime: Runtime = request.app.state.runtime
    runtime.limiter.take_form(request.scope, publishable_key)
    return Call(request, runtime, Principal("web-form", frozenset(), frozenset({clinic_id})), clinic_id)


class FormOrigins:
    """CORS on the marked paths alone; a preflight takes no place and needs nothing of the application."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], origins: tuple[str, ...]) -> None:
        self._app = app
        self._paths = {route.path for route in iter_route_contexts(list(routes)) if is_public_form(route.endpoint)}
        self._cors = CORSMiddleware(app, origins, ("POST",), _ASKED, expose_headers=_TOLD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"] in self._paths
        await (self._cors if ours else self._app)(scope, receive, send)
