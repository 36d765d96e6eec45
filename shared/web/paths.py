"""Which routes a path belongs to."""

import re
from collections.abc import Iterable

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

NO_PATH = re.compile("(?!)")


def pattern(template: str) -> str:
    """A regular expression for `/v1/patients/{patient_id}`."""
    return re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(template))


class Methods:
    """What each path may be asked: the framework itself names one of its routes only."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._known = [
            (re.compile(pattern(context.path or "")), context.methods or set())
            for context in iter_route_contexts(list(routes))
        ]

    def allow(self, path: str) -> str:
        """The field `Allow` of a 405."""
        return ", ".join(sorted({name for known, names in self._known if known.fullmatch(path) for name in names}))
