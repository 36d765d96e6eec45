"""What a protocol says of one route or kind of session, and what no clinic's own may go beyond. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from services.monitoring.combinations import Name, known
from services.monitoring.discharge import Aftercare, DischargeRules
from services.monitoring.gate_found import Ceiling, Check, Devices, Fasting, GateRules
from services.monitoring.limits import PHASES, Phase, Rule
from services.monitoring.scales import RATINGS, SCALES
from services.monitoring.signals import SignalRules
from services.monitoring.vitals import DIASTOLIC, SIGNS, SYSTOLIC
from shared.events.monitoring import Priority, SessionKind
from shared.protocols import Protocol, Sourced, Steps

Kind = SessionKind
DOSING = "dosing"
Minutes = Annotated[float, Field(ge=1)]
Times = Sequence[Annotated[float, Field(ge=0)]]
DOSING_MINUTES = 60.0  # CFG: where a clinic's own version does not say


class Measurement(Protocol):
    """What is due when: `at_minutes` and `every_minutes` count from the start of the phase, or from `since`.

    `for_minutes` ends the repetition. Late after `grace_minutes`.
    """

    name: Name
    signs: Sequence[Annotated[str, known(SIGNS, "sign")]] = ()
    scales: Sequence[Annotated[str, known({*SCALES, *RATINGS}, "scale")]] = ()
    phase: Phase
    since: Literal["phase", "first_dose", "last_dose"] = "phase"
    at_minutes: Times = ()
    every_minutes: Minutes | None = None
    for_minutes: Minutes | None = None
    grace_minutes: Minutes

    @model_validator(mode="after")
    def _says_what_and_when(self) -> Self:
        if not (self.signs or self.scales) or not (self.at_minutes or self.every_minutes):
            raise ValueError("a measurement has signs or scales, and at_minutes or every_minutes")
        return self


class SessionProtocol(Sourced):
    """protocols/<name>.yaml; a session pins the version that it began with.

    `rules`, where a clinic gives them, stand in the place of the set that `limits` names.
    """

    identity: ClassVar[frozenset[str]] = frozenset({"version", "kind", "route", "limits", "medicines", "sources"})

    version: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Kind
    route: str | None = None
    signals: SignalRules
    limits: str
    rules: Sequence[Rule] | None = None
    schedule: Sequence[Measurement] = ()

    def at_odds(self) -> Iterator[tuple[Steps, str]]:
        """Measurements of one name: a timer goes by it, so one would take the other's place."""
        names = [item.name for item in self.schedule]
        for number, name in enumerate(names):
            if name in names[:number]:
                yield ("schedule", number, "name"), "is the name of another measurement"

    @property
    def subject(self) -> str:
        """What there is one effective protocol of."""
        return self.route or self.kind


class DosingProtocol(SessionProtocol):
    """Of a route by which a dose is given.

    `dosing_minutes` after the last dose recovery begins by itself, unless an infusion at a rate has not ended, or is paused.
    """

    kind: Literal["dosing"]
    route: Literal["iv", "im", "sublingual", "esketamine_nasal"]
    medication: str
    ceiling_mg_per_kg: float = Field(gt=0)
    ceiling_mg: float | None = Field(default=None, gt=0)
    devices: Devices | None = None
    dosing_minutes: float = Field(default=DOSING_MINUTES, gt=0)
    gate: GateRules
    discharge: DischargeRules
    medicines: str

    @property
    def infused(self) -> bool:
        """Whether a dose takes its time, so that what follows counts from its end (clinical.md 5)."""
        return self.route == "iv"

    @property
    def ceiling(self) -> Ceiling:
        return Ceiling(self.ceiling_mg_per_kg, self.ceiling_mg, self.devices)


class UndosedProtocol(SessionProtocol):
    """Of a session without a dose: there is no gate, no ceiling and no discharge from a drug's effect."""

    kind: Literal["preparation", "integration", "group", "wellness"]
    route: None = None


class HardBounds(Sourced):
    """protocols/bounds/*.yaml: what a clinic's own version is checked against. Delays in seconds, of clinical time."""

    version: str
    max_mg_per_kg: Mapping[str, float]
    max_mg: Mapping[str, float]
    device_mg: Mapping[str, float]
    max_devices: Mapping[str, int]
    least_device_gap_minutes: Mapping[str, float]
    max_pre_dose_systolic: float
    max_pre_dose_diastolic: float
    max_override_margin: float
    max_weight_change_percent: float
    least_gap_hours: float
    max_gate_minutes: float
    max_projection_age_s: float
    rems_routes: Sequence[str]
    least_consents: int
    least_readiness: Sequence[Check]
    least_fasting_hours: Mapping[str, Fasting]
    least_minutes_after_dose: Mapping[str, int]
    least_aldrete: int
    least_padss: int
    least_moaas: int
    max_cadss: int
    max_systolic_change_percent: float
    max_findings_minutes: float
    least_aftercare: Sequence[Aftercare]
    max_dosing_minutes: float
    pressure_after_first_dose_minutes: Mapping[str, float]
    max_silence_s: float
    max_delay_s: Mapping[Priority, float]
    least_high_below: Mapping[str, float]


def model_of(content: Any) -> type[SessionProtocol]:
    """The class that content says it is of."""
    dosed = isinstance(content, Mapping) and content.get("kind") == DOSING
    return DosingProtocol if dosed else UndosedProtocol


def beyond(bounds: HardBounds, protocol: SessionProtocol) -> Iterator[tuple[Steps, str]]:
    """Every hard safety bound that a clinic's own version breaks."""
    signals = protocol.signals
    if max(signals.factor * signals.interval_s, signals.least_s) > bounds.max_silence_s:
        yield ("signals",), f"must make a device silent after at most {bounds.max_silence_s:g} s"
    if isinstance(protocol, DosingProtocol):
        yield from _beyond_dosing(bounds, protocol)
        yield from _beyond_gate(bounds, protocol)
        yield from _beyond_discharge(bounds, protocol.discharge)
    if protocol.rules is not None:
        yield from _beyond_rules(bounds, protocol.rules)


def _beyond_dosing(bounds: HardBounds, protocol: DosingProtocol) -> Iterator[tuple[Steps, str]]:
    ceiling = bounds.max_mg_per_kg[protocol.route]
    if protocol.ceiling_mg_per_kg > ceiling:
        yield ("ceiling_mg_per_kg",), f"must be at most {ceiling:g} mg/kg for this route"
    most = bounds.max_mg.get(protocol.route)
    if most is not None and (protocol.ceiling_mg is None or protocol.ceiling_mg > most):
        yield ("ceiling_mg",), f"must be at most {most:g} mg for this route"
    yield from _beyond_devices(bounds, protocol)
    if protocol.dosing_minutes > bounds.max_dosing_minutes:
        yield ("dosing_minutes",), f"must be at most {bounds.max_dosing_minutes:g} minutes"
    peak = bounds.pressure_after_first_dose_minutes.get(protocol.route)
    if peak is not None and not any(_asks_pressure(item, peak) for item in protocol.schedule):
        yield ("schedule",), f"must ask for both pressures {peak:g} minutes after the first dose"
    discharge = protocol.discharge
    least = bounds.least_minutes_after_dose[protocol.route]
    if discharge.min_minutes_after_dose < least:
        yield ("discharge", "min_minutes_after_dose"), f"must be at least {least} minutes for this route"
    if discharge.min_aldrete < bounds.least_aldrete:
        yield ("discharge", "min_aldrete"), f"must be at least {bounds.least_aldrete}"


def _asks_pressure(item: Measurement, minutes: float) -> bool:
    return item.since == "first_dose" and minutes in item.at_minutes and {SYSTOLIC, DIASTOLIC} <= {*item.signs}


def _beyond_devices(bounds: HardBounds, protocol: DosingProtocol) -> Iterator[tuple[Steps, str]]:
    most, gap = bounds.max_devices.get(protocol.route), bounds.least_device_gap_minutes.get(protocol.route, 0)
    if most is None:
        return
    if protocol.devices is None:
        yield ("devices",), "must be given for this route"
        return
    holds = bounds.device_mg.get(protocol.route)
    if holds is not None and protocol.devices.mg != holds:
        yield ("devices", "mg"), f"must be {holds:g} mg for this route"
    if protocol.devices.most > most:
        yield ("devices", "most"), f"must be at most {most} for this route"
    if protocol.devices.gap_minutes < gap:
        yield ("devices", "gap_minutes"), f"must be at least {gap:g} minutes for this route"


def _beyond_gate(bounds: HardBounds, protocol: DosingProtocol) -> Iterator[tuple[Steps, str]]:
    gate = protocol.gate
    for name, most, unit in (
        ("max_systolic", bounds.max_pre_dose_systolic, "mm[Hg]"),
        ("max_diastolic", bounds.max_pre_dose_diastolic, "mm[Hg]"),
        ("absolute_systolic", bounds.max_pre_dose_systolic, "mm[Hg]"),
        ("absolute_diastolic", bounds.max_pre_dose_diastolic, "mm[Hg]"),
        ("override_margin", bounds.max_override_margin, "mm[Hg]"),
        ("max_weight_change_percent", bounds.max_weight_change_percent, "%"),
        ("valid_minutes", bounds.max_gate_minutes, "minutes"),
        ("max_projection_age_s", bounds.max_projection_age_s, "s"),
    ):
        if getattr(gate, name) > most:
            yield ("gate", name), f"must be at most {most:g} {unit}"
    if gate.min_gap_hours < bounds.least_gap_hours:
        yield ("gate", "min_gap_hours"), f"must be at least {bounds.least_gap_hours:g} h"
    if protocol.route in bounds.rems_routes and not gate.rems:
        yield ("gate", "rems"), "must be true for this route"
    if len(gate.consents) < bounds.least_consents:
        yield ("gate", "consents"), f"must name at least {bounds.least_consents}"
    yield from _lacking(("gate", "readiness"), gate.readiness, bounds.least_readiness)
    yield from _beyond_fasting(bounds.least_fasting_hours[protocol.route], gate.fasting_hours)


def _beyond_fasting(least: Fasting, hours: Fasting | None) -> Iterator[tuple[Steps, str]]:
    if hours is None:
        yield ("gate", "fasting_hours"), "must be given for this route"
        return
    for name in Fasting.model_fields:
        if getattr(hours, name) < getattr(least, name):
            yield ("gate", "fasting_hours", name), f"must be at least {getattr(least, name):g} h for this route"


def _beyond_discharge(bounds: HardBounds, rules: DischargeRules) -> Iterator[tuple[Steps, str]]:
    for name, least in (("min_padss", bounds.least_padss), ("min_moaas", bounds.least_moaas)):
        if getattr(rules, name) < least:
            yield ("discharge", name), f"must be at least {least}"
    for name, most in (
        ("max_cadss", bounds.max_cadss),
        ("max_systolic_change_percent", bounds.max_systolic_change_percent),
        ("findings_valid_minutes", bounds.max_findings_minutes),
    ):
        if getattr(rules, name) > most:
            yield ("discharge", name), f"must be at most {most:g}"
    yield from _lacking(("discharge", "aftercare"), rules.aftercare, bounds.least_aftercare)


def _lacking(steps: Steps, given: Sequence[str], least: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    missing = [name for name in least if name not in given]
    if missing:
        yield steps, "must have " + ", ".join(missing)


def _beyond_rules(bounds: HardBounds, rules: Sequence[Rule]) -> Iterator[tuple[Steps, str]]:
    names = [rule.name for rule in rules]
    for number, rule in enumerate(rules):
        longest = bounds.max_delay_s.get(rule.priority)
        if longest is not None and rule.delay_s > longest:
            yield ("rules", number, "delay_s"), f"must be at most {longest:g} s at this priority"
        if rule.name in names[:number]:
            yield ("rules", number, "name"), "is the name of another rule"
    for sign, least in bounds.least_high_below.items():
        if not any(_pages_low(rule, sign, least) for rule in rules):
            yield ("rules",), f"must page with high priority in every phase when {sign} is {least:g} or less"


def _pages_low(rule: Rule, sign: str, least: float) -> bool:
    high = rule.sign == sign and rule.priority == "high" and rule.pages and set(rule.phases) == set(PHASES)
    return high and rule.below is not None and rule.below >= least


def canonical(content: Mapping[str, Any]) -> str:
    """The text that is signed: what was written, in one order of names."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
