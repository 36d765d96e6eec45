"""The baseline: what the gate and every relative limit compare with, and readings of their own that are judged like any other."""

from datetime import datetime

from services.monitoring import model, schemas
from services.monitoring.combinations import MOAAS
from services.monitoring.recent import Recent
from services.monitoring.schemas_entries import Scored
from services.monitoring.store import SESSIONS
from services.monitoring.usecases import readings, scoring
from services.monitoring.usecases.deps import Deps, baseline_signs
from services.monitoring.usecases.entries import happened_at, record
from services.monitoring.usecases.sessions import load, pinned_anew
from services.monitoring.vitals import MANUAL, SIGNS
from shared.errors import FieldError, Invalid
from shared.persistence.mongo import Document, UnitOfWork


async def take(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Baseline) -> Document:
    """Taken again it replaces the one before, and the gate is judged anew. Raises NotFound, Conflict, Invalid.

    From here on the session goes by the route of its plan, where that was not known at check-in. Its signs and its
    MOAA/S alarm by the limits of the phase, in the same transaction. Whoever was dosed by a move before it was written
    down has one too, of before the dose.
    """
    session, now = await load(unit, session_id, "baseline"), unit.clock.clinical_now()
    base = body.model_dump(mode="json", exclude={"occurred_at"}, exclude_none=True)
    at = happened_at(unit, body.occurred_at)
    fields: Document = {"baseline": base, "baseline_at": at}
    anew: Document = {}
    if session["baseline"] is None and session["state"] in ("dosing", "recovery"):
        _precedes_dose(session, at)
        after = model.changed(session, now, **fields)
    else:
        anew = await pinned_anew(unit, deps, session)
        after = model.move(session, "baseline", now, **fields, gate_override=None, gate_open_until=None, **anew)
    await unit.collection(SESSIONS).replace_versioned(after)
    await record(unit, after, "baseline", at, **base, protocol_version=anew.get("protocol_version"))
    await _judge(unit, deps, after, at)
    return after


def _precedes_dose(session: Document, at: datetime) -> None:
    """What is measured after the dose shows its effect. Raises Invalid."""
    if at > min(dose["at"] for dose in session["doses"]):
        text = "lies after the dose: a baseline is what was measured before it, told with its own time"
        raise Invalid(errors=[FieldError("/occurred_at", text, "after_dose")])


async def _judge(unit: UnitOfWork, deps: Deps, session: Document, at: datetime) -> None:
    measured = [
        schemas.Reading(sign=sign, value=value, unit=SIGNS[sign].unit, taken_at=at, device=MANUAL)
        for sign, value in baseline_signs(session).items()
    ]
    delivery = readings.Delivery(unit.scope, session["_id"], measured)
    await readings.take(unit, deps, [delivery], Recent(), repeated=True)
    moaas = session["baseline"].get(MOAAS)
    if moaas is not None:
        facts = Scored(observation_code=MOAAS, score=moaas).measured()
        entry = await record(unit, session, "observation", at, **facts)
        await scoring.noted(unit, deps, entry)
