"""What a session has of its doses when one was recorded wrongly, or for the wrong patient. Pure.

Each takes the session, the dose's entry as it was known and as it is known now; it gives the session's changed fields
and the entry's facts. An identical twin of a dose is as good as the dose itself.
"""

from datetime import datetime

from services.monitoring.model import OPEN
from shared.errors import Conflict, FieldError, Invalid
from shared.persistence.mongo import Document

Changed = tuple[Document, Document]
_SAME = ("amount_mg", "lot")


def follows_baseline(session: Document, at: datetime, known_at: datetime | None = None) -> None:
    """The time before discharge counts from the dose, so none is told as given before what its gate rests on.

    One that was moved here stands where it was given (`known_at`), and is told as no earlier still. Raises Invalid.
    """
    bounds = [moment for moment in (session["baseline_at"], known_at) if moment is not None]
    if session["baseline_at"] is not None and at < min(bounds):
        text = "lies before the baseline: a dose of before needs a baseline that is told with its own time"
        raise Invalid(errors=[FieldError("/occurred_at", text, "before_baseline")])


def corrected(session: Document, before: Document, after: Document) -> Changed:
    """Amount, lot, expiry or time as they were."""
    number = _number(session, before)
    if number is None:
        return {}, after["facts"]
    facts = _known_here(session, after)
    old = session["doses"][number]
    dose = {**old, **{name: facts.get(name, old.get(name)) for name in old if name != "at"}, "at": after["occurred_at"]}
    doses = [*session["doses"][:number], dose, *session["doses"][number + 1 :]]
    return {"doses": doses, "started_at": min(item["at"] for item in doses)}, facts


def infusion_of(session: Document, entry: Document) -> Document | None:
    """What runs, or ran, of this dose: it is known of the newest alone."""
    newest: Document = {"doses": session["doses"][-1:]}
    infusion: Document | None = session.get("infusion")
    return infusion if _number(newest, entry) is not None else None


def giver(session: Document, entry: Document) -> str:
    """Who gave the dose: its entry may be of whoever moved it here, which the session told before the entry did."""
    number = _number(session, entry)
    dose = session["doses"][number] if number is not None else {}
    known: str = entry["facts"].get("given_by") or dose.get("by") or entry["by"]
    return known


def taken_away(session: Document, before: Document, after: Document) -> Changed:
    """The patient never had it: without any dose an open session is where it was before the first, aborted or not.

    Where doses are left, nobody has said when those ended: what is known of the infusion stays.
    """
    number = _number(session, before)
    if number is None:
        return {}, after["facts"]
    doses = [dose for place, dose in enumerate(session["doses"]) if place != number]
    changed: Document = {"doses": doses, "started_at": min((item["at"] for item in doses), default=None)}
    if not doses and session["state"] in ("dosing", "recovery"):
        changed |= {"state": "baseline", "infusion": None, "aborted": False}
    return changed, after["facts"]


def taken_over(session: Document, before: Document, after: Document, infusion: Document | None = None) -> Changed:
    """The patient has had it, with its `infusion`: whoever is here is dosed, and watched as such.

    Raises Conflict before check-in.
    """
    if session["state"] in ("scheduled", "voided"):
        text = f"The other session is {session['state']}: check the patient in first."
        raise Conflict(text, reasons=[{"code": "state", "detail": text}])
    facts = _known_here(session, after)
    names = ("medication", "amount_mg", "mg_per_kg", "lot", "expiry", "device_no", "checked_by")
    dose = {name: facts[name] for name in names if name in facts} | {"at": after["occurred_at"]}
    dose["by"] = facts.get("given_by", before["by"])
    dose.setdefault("mg_per_kg", None)
    doses = [*session["doses"], dose]
    changed: Document = {"doses": doses, "started_at": min(item["at"] for item in doses)}
    if infusion is not None:
        changed["infusion"] = _later(session.get("infusion"), infusion)
    runs = (infusion or {}).get("state", "stopped") != "stopped" and not session.get("aborted")
    if session["state"] in OPEN and (session["state"] != "recovery" or runs):
        changed["state"] = "dosing"
    return changed, facts


def _later(own: Document | None, moved: Document) -> Document:
    """The one that ends last: one that has not ended, else the later end."""
    if own is None:
        return moved
    return max(own, moved, key=lambda infusion: (infusion["state"] != "stopped", infusion["since"]))


def _number(session: Document, entry: Document) -> int | None:
    for number, dose in enumerate(session["doses"]):
        if dose["at"] == entry["occurred_at"] and all(dose[name] == entry["facts"][name] for name in _SAME):
            return number
    return None


def _known_here(session: Document, entry: Document) -> Document:
    """The facts with what this session makes of them: the dose per weight, and that the baseline was not known yet.

    Such a dose can only have moved here. It is what the patient has had, so it is told and not refused; what is compared
    with a baseline of after a dose is to be read with that.
    """
    base, baseline_at = session["baseline"], session["baseline_at"]
    facts = {name: value for name, value in entry["facts"].items() if name not in ("mg_per_kg", "before_baseline")}
    if base:
        facts["mg_per_kg"] = round(facts["amount_mg"] / base["weight_kg"], 3)
    if baseline_at is None or entry["occurred_at"] < baseline_at:
        facts["before_baseline"] = True
    return facts
