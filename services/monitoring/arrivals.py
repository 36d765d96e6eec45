"""A request's bytes as readings: validated once; what one of them lacks does not hold up the others."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.monitoring import schemas
from services.monitoring.vitals import Outcome
from shared.errors import BadRequest, TooLarge
from shared.web.bodies import check_json, names_in

M = TypeVar("M", bound=schemas.Delivered)
R = TypeVar("R", bound=schemas.Reading)
LINES_MAX = 10_000
AT_ONCE = 500
MALFORMED = Outcome("-", "refused", "malformed")


@dataclass(frozen=True)
class Arrived(Generic[R]):
    """`faults` by place: what is no reading. `readings` are the others, in order."""

    readings: Sequence[R]
    faults: Mapping[int, Outcome]
    interval_s: float | None = None

    def results(self, taken: Sequence[Outcome]) -> list[Outcome]:
        """With those that were refused before, in the order of the request."""
        if not self.faults:
            return list(taken)
        rest = iter(taken)
        return [self.faults.get(place) or next(rest) for place in range(len(taken) + len(self.faults))]


def whole(model: type[M], body: bytes) -> tuple[M, Mapping[int, Outcome]]:
    """The request, and by place the readings that are malformed: they are refused, the others are not.

    Looked at once where all is well, for the model bounds every value; else as strictly as any other body. Raises
    BadRequest, RequestValidationError where the request is not valid, none of its readings is, or one is no object.
    """
    faults: list[Any]
    try:
        given = model.model_validate_json(body)
    except ValidationError as error:
        faults = [*error.errors(include_url=False)]
    else:
        if _names(given) != names_in(body):
            check_json(body)
        return given, {}
    check_json(body)
    places = {_place(fault["loc"]) for fault in faults}
    content = orjson.loads(body) if None not in places else {}
    rows = content.get("readings", ()) if isinstance(content, dict) else ()
    if not set(range(len(rows))) - places or not all(isinstance(row, dict) for row in rows):
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults])
    kept = [row for place, row in enumerate(rows) if place not in places]
    return model.model_validate_json(orjson.dumps({**content, "readings": kept})), {
        place: MALFORMED for place in places if place is not None
    }


def _names(given: schemas.Delivered) -> int:
    """How many names it was said with, if each was said once."""
    return len(given.model_fields_set) + sum(len(reading.model_fields_set) for reading in given.readings)


def _place(where: tuple[int | str, ...]) -> int | None:
    match where:
        case ("readings", int(place), *_):
            return place
    return None


async def by_line(kind: type[R], body: bytes) -> Arrived[R]:
    """One reading per line; empty lines are passed over. Raises TooLarge, BadRequest when there is none."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > LINES_MAX:
        raise TooLarge(f"More than {LINES_MAX} lines.")
    if not lines:
        raise BadRequest("There is no line in the body.")
    readings, faults = list[R](), dict[int, Outcome]()
    for place, line in enumerate(lines):
        if place % AT_ONCE == 0:
            await asyncio.sleep(0)  # the alarm path lives on the same loop
        reading = _line(kind, line)
        if reading is None:
            faults[place] = MALFORMED
        else:
            readings.append(reading)
    return Arrived(readings, faults)


def _line(kind: type[R], line: bytes) -> R | None:
    try:
        check_json(line)
        return kind.model_validate_json(line)
    except (BadRequest, ValidationError):
        return None


def numbered(body: bytes, results: Sequence[Outcome]) -> bytes:
    """The answer to lines: a line each, with the number of the one it answers."""
    numbers = [number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    told = zip(numbers, results, strict=True)
    return b"".join(orjson.dumps({"line": number, **result.told()}) + b"\n" for number, result in told)
