"""A value is of its own type: no `true` for a number, no text of digits, no number for a day."""

import re
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any

from pydantic_core import PydanticCustomError, core_schema

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SCALARS = frozenset({"bool", "int", "float"})
_GUARDED = "guarded"


def no_coercion(part: Any) -> None:
    """In place: what is within a model's core schema takes its own type alone; a whole number is a number."""
    if isinstance(part, dict):
        if part.get("type") in _SCALARS:
            part.setdefault("strict", True)
        elif _is_lenient(part) and not part.get("metadata", {}).get(_GUARDED):
            _guard(part)
        for inner in part.values():
            no_coercion(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            no_coercion(inner)


def _is_lenient(part: Any) -> bool:
    """A day, and a choice of which not all are texts: nothing else is ever equal to a text."""
    kind = part.get("type")
    return kind == "date" or (kind == "literal" and not all(isinstance(choice, str) for choice in part["expected"]))


def _guard(part: Any) -> None:
    """In place: what pydantic finds equal (`1` and `true`) or turns into a day (`0`) is refused before it looks."""
    inner = {**part, "metadata": {**part.get("metadata", {}), _GUARDED: True}}
    exact, code = _EXACT[part["type"]](part), f"{part['type']}_type"

    def check(given: object) -> object:
        if not exact(given):
            raise PydanticCustomError(code, "is not of the right type")
        return given

    part.clear()
    part.update(core_schema.no_info_before_validator_function(check, inner))


def _one_of(literal: Any) -> Callable[[object], bool]:
    kinds = {type(choice) for choice in literal["expected"]}
    return lambda given: type(given) in kinds or isinstance(given, Enum)


def _day(_: Any) -> Callable[[object], bool]:
    return lambda given: isinstance(given, date) or (isinstance(given, str) and bool(_DAY.fullmatch(given)))


_EXACT: dict[str, Callable[[Any], Callable[[object], bool]]] = {"literal": _one_of, "date": _day}
