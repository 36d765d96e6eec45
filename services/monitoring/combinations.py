"""Findings that no single sign is: several at once make one more sign, whose value is how many of them are there. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.monitoring.vitals import HOLDS, MANUAL, SIGNS, Moment
from shared.protocols import Protocol

MOAAS, SYMPTOMS = "moaas", "symptoms"
UNITS = {sign.loinc: sign.unit for sign in SIGNS.values()} | {MOAAS: "{score}", SYMPTOMS: "{count}"}
COUNT = "{count}"
ByDevice = Mapping[str, Moment]  # the newest value of each
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]  # a step of a document's path: it holds no dot


def known(names: Collection[str], what: str) -> AfterValidator:
    """Refuses every other name than these, at the field that has it."""

    def checked(name: str) -> str:
        if name not in names:
            raise PydanticCustomError("unknown", "is not a known {what}", {"what": what})
        return name

    return AfterValidator(checked)


class Part(Protocol):
    """One finding of a combination, inclusive, in the sign's unit."""

    sign: Annotated[str, known(UNITS, "sign")]
    above: float = float("inf")
    below: float = float("-inf")

    def found(self, value: float) -> bool:
        return value >= self.above or value <= self.below

    def telling(self, newest: ByDevice) -> Moment | None:
        """Of devices that differ the one that has the finding, as long as it is heard beside the others (ADR 20).

        What a human measured last stands for itself.
        """
        if not newest:
            return None
        last = max(newest.values())
        oldest = last[0] if MANUAL in newest and newest[MANUAL][0] == last[0] else last[0] - HOLDS
        heard = [moment for moment in newest.values() if moment[0] >= oldest]
        return max((moment for moment in heard if self.found(moment[1])), default=last)


class Combination(Protocol):
    """`sign` is the name under which rules speak of it; what is told of each part counts for `within_s`."""

    sign: Name
    parts: Sequence[Part] = Field(min_length=2)
    within_s: float = Field(gt=0)

    def has(self, sign: str) -> bool:
        return any(part.sign == sign for part in self.parts)

    def count(self, newest: Mapping[str, ByDevice], at: datetime) -> int:
        """How many of its parts are found by what was measured last, by sign and device."""
        oldest = at - timedelta(seconds=self.within_s)
        told = [(part, part.telling(newest.get(part.sign, {}))) for part in self.parts]
        return sum(moment is not None and moment[0] >= oldest and part.found(moment[1]) for part, moment in told)


def unit_of(sign: str) -> str:
    """UCUM; a combination is counted."""
    return UNITS.get(sign, COUNT)


def concerned(
    combinations: Sequence[Combination], sign: str, value: float, stirred: Collection[str]
) -> list[Combination]:
    """Those that a reading may make or end: the value is a finding of one, or one stands."""
    return [
        item
        for item in combinations
        if item.has(sign)
        and (item.sign in stirred or any(part.sign == sign and part.found(value) for part in item.parts))
    ]
