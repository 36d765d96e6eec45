"""What all HTTP bodies share."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.events.envelope import rfc3339

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
YEARS = range(1900, 2200)  # so that no sum of a time and a term leaves the calendar
_SCALARS = frozenset({"bool", "int", "float"})
_GUARDED = "guarded"


def _text(given: object) -> object:
    if isinstance(given, datetime) or (isinstance(given, str) and _RFC3339.fullmatch(given)):
        return given
    raise ValueError("is not an RFC 3339 time with a zone")


def _utc_milliseconds(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None
    if moment.year not in YEARS:
        raise ValueError("is out of range")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_text),
    AfterValidator(_utc_milliseconds),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339 with a zone in, from 1900 to 2199; UTC in milliseconds out."""

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
ShortText = Annotated[str, Field(min_length=1, max_length=200)]


def _no_coercion(part: Any) -> None:
    if isinstance(part, dict):
        if part.get("type") in _SCALARS:
            part.setdefault("strict", True)
        elif _is_lenient(part) and not part.get("metadata", {}).get(_GUARDED):
            _guard(part)
        for inner in part.values():
            _no_coercion(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            _no_coercion(inner)


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


class Body(BaseModel):
    """An HTTP body: unknown fields are refused, numbers are finite, and `"1"` is not a number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Not `strict` for the whole model: then a time would have to be a datetime and a part an instance already.
        schema = handler(source)
        _no_coercion(schema)
        return schema
