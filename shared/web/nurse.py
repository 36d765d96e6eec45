"""The one marker of routes on which nothing may stop a nurse (architecture 4)."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from shared.web.paths import pattern

F = TypeVar("F", bound=Callable[..., Any])
NURSE = "stillwater.nurse"  # in the ASGI scope: whether this request is a nurse's
NEVER = frozenset({409, 412, 428, 429})
_MARK = "__nurse_route__"


def nurse_route(endpoint: F) -> F:
    """Mark a route: write `@nurse_route` right below its `@router.post(...)`. Nothing else is needed.

    The request then has an admission pool of its own, so a flood elsewhere never answers it 503; it is not counted by
    the rate limiter; an `Idempotency-Key` is honoured but not asked for, a twin that does not end is 503, not 409. It
    is never answered 409, 412, 428 or 429: where a use case lets such an error through all the same, the answer is 503
    with `Retry-After` and the fault is logged, so the use case must accept every state after check-in, be idempotent,
    and not ask for `If-Match`. Do not document those statuses in `problems(...)`: a test reads the marker.
    """
    setattr(endpoint, _MARK, True)
    return endpoint


def is_nurse_route(endpoint: object) -> bool:
    return getattr(endpoint, _MARK, False) is True


def nurse_paths(routes: Iterable[BaseRoute]) -> re.Pattern[str]:
    """Matches the path of every marked route."""
    marked = [route for route in iter_route_contexts(list(routes)) if is_nurse_route(route.endpoint)]
    return re.compile("|".join(pattern(route.path or "") for route in marked) or "(?!)")
