"""A session's own limits: a prescriber sets them, within what a value may be, and the timeline keeps who and why."""

from collections.abc import Iterator, Sequence

from services.monitoring import model, schemas
from services.monitoring.limits import Rule, is_collapse
from services.monitoring.store import SESSIONS
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import SIGNS
from shared.errors import Conflict, FieldError, Invalid, VersionConflict
from shared.persistence.mongo import Document, UnitOfWork


async def set_limits(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.OwnLimits, expected: int) -> Document:
    """The whole set: what is not named is the protocol's again.

    Raises NotFound, VersionConflict for a session that is not `expected` any more, Conflict, Invalid with every fault.
    """
    session = await load(unit, session_id, "limits")
    if session["version"] != expected:
        raise VersionConflict
    if session["state"] in model.ENDED:
        text = f"The session is {session['state']}; nothing in it is watched any more."
        raise Conflict(text, reasons=[{"code": "state", "detail": text}])
    rules = deps.rules_of(session)
    faults = list(_faults(rules, body.limits))
    if faults:
        raise Invalid(errors=faults)
    own = {item.rule: item.bound for item in body.limits}
    after = model.changed(session, unit.clock.clinical_now(), own_limits=own)
    await unit.collection(SESSIONS).replace_versioned(after)
    before = session.get("own_limits") or {}
    await record(
        unit, after, "limits_changed", body.occurred_at, reason_code=body.reason_code, limits=own, before=before
    )
    return after


def _faults(rules: Sequence[Rule], wanted: Sequence[schemas.OwnLimit]) -> Iterator[FieldError]:
    known = {rule.name: rule for rule in rules}
    for number, item in enumerate(wanted):
        at, rule = f"/limits/{number}", known.get(item.rule)
        if rule is None:
            yield FieldError(f"{at}/rule", "is no rule of this session's protocol", "rule_unknown")
        elif any(other.rule == item.rule for other in wanted[:number]):
            yield FieldError(f"{at}/rule", "is named twice", "rule_repeated")
        elif is_collapse(rule) or rule.sign not in SIGNS:
            yield FieldError(f"{at}/rule", "holds for everybody", "rule_fixed")
        else:
            sign = SIGNS[rule.sign]
            if not sign.lowest < item.bound < sign.highest:
                yield FieldError(f"{at}/bound", f"must be between {sign.lowest:g} and {sign.highest:g}", "out_of_range")
    yield from _crossing(known, wanted)


def _crossing(known: dict[str, Rule], wanted: Sequence[schemas.OwnLimit]) -> Iterator[FieldError]:
    """An upper limit at or below a lower one of the same sign would leave no value in peace."""
    own = {item.rule: item.bound for item in wanted}
    for number, item in enumerate(wanted):
        rule = known.get(item.rule)
        if rule is None:
            continue
        for other in known.values():
            bound = own.get(other.name, other.above if other.above is not None else other.below)
            if other.sign != rule.sign or other.high == rule.high or bound is None:
                continue
            if (item.bound <= bound) if rule.high else (item.bound >= bound):
                yield FieldError(f"/limits/{number}/bound", f"crosses {other.name} ({bound:g})", "crosses")
                break
