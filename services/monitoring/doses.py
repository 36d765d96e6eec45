"""The dose itself against plan, ceiling, device and lot (clinical.md 5, 6). Pure; amounts in mg."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from services.monitoring import standing
from services.monitoring.gate_found import Devices, Found, GateRules, Given, Proposed, Reason

PLAN_TOLERANCE = 1.1
SAME_SITTING = timedelta(hours=1)  # CFG: three devices take ten minutes, a second injection comes within the hour
OF_ONE_DOSE = frozenset({"above_plan", "device_gap", "second_check_missing", "checker_unknown", "minimum_gap"})


def still_answered(codes: Iterable[str]) -> list[str]:
    """What an override goes on answering for once a dose was given by it: the next amount, gap and check are others."""
    return [code for code in codes if code not in OF_ONE_DOSE]


def given_so_far(doses: list[dict[str, Any]]) -> Given:
    last = max((dose["at"] for dose in doses), default=None)
    return Given(sum(dose["amount_mg"] for dose in doses), len(doses), last)


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """The gap to the last dose, and all that is known once the dose is."""
    return _gap(rules, found) + (_proposed(rules, found, found.dose) if found.dose else [])


def _gap(rules: GateRules, found: Found) -> list[Reason]:
    """Counted from the patient's last dose; the doses of one sitting belong together, a session left open is none."""
    before, own, at = found.last_dose_at, found.given.last_at, found.dose_at
    if own is not None and (before is None or own >= before):
        if at - own <= SAME_SITTING:
            return []
        before = own
    if before is None or at - before >= timedelta(hours=rules.min_gap_hours):
        return []
    text = f"The last dose was given less than {rules.min_gap_hours:g} hours ago."
    return [Reason("minimum_gap", "overridable", text)]


def _proposed(rules: GateRules, found: Found, dose: Proposed) -> list[Reason]:
    list_ = _amount(found, dose)
    if dose.medication != found.medication:
        list_.append(Reason("other_medication", "absolute", f"The protocol gives {found.medication}."))
    if dose.expiry < f"{found.now:%Y-%m}":
        list_.append(Reason("lot_expired", "absolute", "The lot has expired."))
    if found.ceiling.devices:
        list_ += _device(found.ceiling.devices, found, dose)
    return list_ + (_second_check(found, dose) if rules.two_person_check else [])


def _amount(found: Found, dose: Proposed) -> list[Reason]:
    """The whole session counts, with what it has given so far."""
    total, weight, ceiling = found.given.total_mg + dose.amount_mg, _weight(found.baseline), found.ceiling
    list_: list[Reason] = []
    per_kg = round(total / weight, 3) if weight else None
    if per_kg is not None and per_kg > ceiling.mg_per_kg:
        text = f"The dose is above the ceiling of {ceiling.mg_per_kg:g} mg/kg."
        list_.append(Reason("above_ceiling", "absolute", text))
    if ceiling.mg is not None and total > ceiling.mg:
        list_.append(Reason("above_ceiling_mg", "absolute", f"The dose is above the ceiling of {ceiling.mg:g} mg."))
    planned = (found.known.plan or {}).get("dose_mg_per_kg")
    if per_kg is not None and planned is not None and per_kg > planned * PLAN_TOLERANCE:
        list_.append(Reason("above_plan", "overridable", "The dose is more than 10 % above the plan."))
    return list_


def _weight(baseline: Mapping[str, Any] | None) -> float | None:
    return baseline["weight_kg"] if baseline else None


def _device(devices: Devices, found: Found, dose: Proposed) -> list[Reason]:
    """SPR-HCP: one device at a time."""
    list_: list[Reason] = []
    if dose.amount_mg != devices.mg:
        list_.append(Reason("device_amount", "absolute", f"A device holds {devices.mg:g} mg; record one at a time."))
    if found.given.devices >= devices.most:
        list_.append(Reason("devices_used", "absolute", f"A session uses {devices.most} devices at most."))
    last = found.given.last_at
    if last is not None and found.dose_at - last < timedelta(minutes=devices.gap_minutes):
        text = f"The last device was used less than {devices.gap_minutes:g} minutes ago."
        list_.append(Reason("device_gap", "overridable", text))
    return list_


def _second_check(found: Found, dose: Proposed) -> list[Reason]:
    if dose.checked_by is None or dose.checked_by == dose.by:
        return [Reason("second_check_missing", "overridable", "The protocol asks for a second person's check.")]
    person = found.known.checker
    if person is None:
        return [Reason("checker_unknown", "overridable", "Who checked the dose is not in the staff directory here.")]
    if not person["roles"]:
        return [Reason("checker_has_left", "absolute", "Who checked the dose has left the clinic.")]
    if standing.expired(person, found.now):
        return [Reason("checker_credential_expired", "absolute", "A credential of who checked the dose has expired.")]
    return []
