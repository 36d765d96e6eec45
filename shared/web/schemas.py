"""What all HTTP bodies share."""

import re
from datetime import UTC, datetime
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
from pydantic_core import CoreSchema

from shared.events.envelope import rfc3339
from shared.strictness import no_coercion

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
YEARS = range(1900, 2200)  # so that no sum of a time and a term leaves the calendar


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


class Body(BaseModel):
    """An HTTP body: unknown fields are refused, numbers are finite, and `"1"` is not a number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Not `strict` for the whole model: then a time would have to be a datetime and a part an instance already.
        schema = handler(source)
        no_coercion(schema)
        return schema
