"""Routes that read their body themselves: validated once, from the bytes, as JSON or as one JSON value per line (NDJSON)."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.routing import BaseRoute

from shared.web.bodies import LINES
from shared.web.paths import NO_PATH, pattern

F = TypeVar("F", bound=Callable[..., Any])
Object = dict[str, Any]
_MARK = "__takes_lines__"


def takes_lines(endpoint: F) -> F:
    """Marks a route that checks its body itself, and that NDJSON may be sent to; everywhere else that is 415."""
    setattr(endpoint, _MARK, True)
    return endpoint


def lines_paths(routes: Iterable[BaseRoute]) -> re.Pattern[str]:
    """Matches the path of every marked route."""
    marked = [route for route in iter_route_contexts(list(routes)) if getattr(route.endpoint, _MARK, False)]
    return re.compile("|".join(pattern(route.path or "") for route in marked) or NO_PATH.pattern)


def body_of(model: type[BaseModel], line: type[BaseModel], alone: str) -> Object:
    """For `openapi_extra`: what such a route is sent, for the framework does not see it.

    `alone` names the list whose items are judged one by one: an object that is none of them is answered in its place.
    """
    schema = _whole(model)
    items = schema["properties"][alone]["items"]
    refused = {"type": "object", "description": "Anything else is refused alone; 422 where no item is valid."}
    schema["properties"][alone]["items"] = {"anyOf": [items, refused]}
    content = {
        "application/json": {"schema": schema},
        LINES.decode(): {"schema": {"type": "string", "description": f"One {line.__name__} per line, as JSON."}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _whole(model: type[BaseModel]) -> Object:
    """The schema with its parts in place."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return filled(parts[part["$ref"].rpartition("/")[2]])
            return {name: filled(inner) for name, inner in part.items()}
        return [filled(inner) for inner in part] if isinstance(part, list) else part

    found: Object = filled(schema)
    return found
