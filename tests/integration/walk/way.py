"""A patient's way through the clinic on which every operation that changes something is walked once."""

from datetime import timedelta
from uuid import uuid4

from services.monitoring.wiring import PROTOCOLS
from shared.events.envelope import rfc3339
from shared.ids import new_id
from tests.integration.monitoring.test_after import FIT
from tests.integration.monitoring.test_nurse import AE, ARRIVAL, BASE, DOSE
from tests.integration.walk.walk import Walk

SIGNED = {"document": "ketamine_treatment", "document_version": "1", "text_sha256": "0" * 64}
PLAN = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 1}
DECISION = {"decision": "declined", "reason_codes": ["other"], "route": "iv", "indication": "icd10:F33.2"}
WIDER = {"limits": [{"rule": "sbp_critical_high", "bound": 200}], "reason_code": "known_hypertension"}
WASTE = {"medication": "ketamine", "amount_mg": 15, "lot": "L", "witness": "nurse-2"}
CLOSED = {"start": "2031-03-04T15:00:00Z", "end": "2031-03-04T16:00:00Z", "reason_code": "holiday"}
OPEN = {
    "hours": [
        {"day": day, "opens": "00:00", "closes": "24:00"} for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    ]
}
WHY = {"reason_code": "wrong_patient"}
THREE = "2031-03-06T15:00:00Z"
ONE, TWO, FOUR = ({"start": f"2031-03-0{day}T15:00:00Z", "end": f"2031-03-0{day}T16:00:00Z"} for day in (3, 5, 7))


def go(walk: Walk) -> None:
    the_clinic(walk)
    a_person(walk)
    a_visit(walk)
    an_alarm(walk)
    a_course(walk)
    for prefix in ("", "participant_"):
        a_chair(walk, prefix)
    work_and_messages(walk)
    the_end(walk)


def the_clinic(walk: Walk) -> None:
    for name in ("put_clinic", "put_services", "put_locations", "put_on_call"):
        walk.do(name)
    walk.ids["staff_id"] = "nurse-2"
    walk.do("put_staff_contact")
    walk.do("add_staff", {"staff_id": "nurse-2", "roles": ["nurse"]})
    walk.do("change_staff", {"roles": ["nurse"]})
    walk.ids["resource_id"] = walk.made("add_resource", {"kind": "room", "label": "R"})
    walk.do("change_resource", {"label": "S"})
    walk.do("set_hours", OPEN)
    closed = walk.do("add_closure", CLOSED)
    walk.do("remove_closure", closure_id=closed["closures"][0]["id"])
    text = (PROTOCOLS / "wellness.yaml").read_text().replace("wellness-2026-11", new_id())
    walk.ids["protocol_id"] = walk.made("draft_protocol", {"yaml": text}, "prescriber")
    walk.do("sign_protocol")


def a_person(walk: Walk) -> None:
    walk.ids["inquiry_id"] = walk.made("receive_inquiry")
    walk.ids["patient_id"] = walk.made("convert_inquiry", {"birth_year": 1980})
    for name in ("correct_patient", "change_contact", "put_clinical_summary", "put_preferences"):
        walk.do(name)
    walk.do("put_rems_enrolment", {"status": "not_enrolled"})
    walk.ids["consent_id"] = walk.made("sign_consent", SIGNED, "nurse")
    walk.do("determine_eligibility", DECISION)
    walk.ids["plan_id"] = walk.made("draft_plan", PLAN, "prescriber")
    walk.do("activate_plan")
    walk.do("revise_plan", {"integration_after": False, **WHY})
    walk.do("pause_plan")
    walk.do("resume_plan")
    for name in ("hold_patient", "lift_hold"):
        walk.do(name)


def a_visit(walk: Walk) -> None:
    place = {"resources": [walk.ids["resource_id"]]}
    visit = {"patient_id": walk.ids["patient_id"], "kind": "consultation"}
    walk.ids["hold_id"] = walk.made("add_hold", {**place, **FOUR})
    held = walk.made("add_hold", {**place, **ONE})
    walk.ids["appointment_id"] = walk.made("book_appointment", {**visit, **place, **ONE, "hold_id": held})
    walk.do("confirm_appointment")
    walk.do("record_readiness")
    walk.do("reschedule_appointment", {**place, **TWO})
    walk.do("cancel_appointment")
    now = walk.stack.now()
    begun = {"start": rfc3339(now - timedelta(minutes=5)), "end": rfc3339(now + timedelta(minutes=30))}
    walk.do("mark_no_show", appointment_id=walk.made("book_appointment", {**visit, **place, **begun}))


def opened(walk: Walk, prefix: str, steps: int, **more: str) -> str:
    """A session of a patient of its own, in a group where the prefix says so, so many steps on its way."""
    who = {"patient_id": str(uuid4()), "route": "iv", **more}
    if prefix:
        walk.ids["group_id"] = walk.made("open_session", {"kind": "group", "route": "iv"})
        walk.ids["session_id"] = walk.made("join", who, session_id=walk.ids["group_id"])
    else:
        walk.ids["session_id"] = walk.made("open_session", who)
    dose = {**DOSE, "override_reason": "alone", "rate_mg_per_h": 40}
    way = (("check_in", ARRIVAL, ""), ("take_baseline", BASE, ""), ("give_dose", dose, "prescriber"))
    for name, body, role in way[:steps]:
        walk.do(prefix + name, body, role)
    return walk.ids["session_id"]


def a_chair(walk: Walk, prefix: str) -> None:
    opened(walk, prefix, 1)
    walk.do(f"{prefix}void")
    other = {"to_session_id": opened(walk, prefix, 1), **WHY}
    opened(walk, prefix, 2)
    walk.do(f"{prefix}override_gate", {"reason_code": "alone"})
    walk.do(f"{prefix}open_gate", {})
    walk.do(f"{prefix}abort")
    opened(walk, prefix, 3)
    walk.do(f"{prefix}reassign", {"room": "T"})
    walk.do(f"{prefix}set_limits", WIDER)
    for name in ("pause_dose", "resume_dose", "change_rate"):
        walk.do(prefix + name, {"rate_mg_per_h": 30})
    for number, name in enumerate(("confirm_reading", "reject_reading", "move_reading")):
        body = other if name == "move_reading" else {"reason_code": "seen"}
        walk.do(prefix + name, body, reading_id=a_reading(walk, prefix, number))
    entry = walk.made(f"{prefix}add_observation", {"observation_code": "pain", "score": 2})
    walk.do(f"{prefix}correct_entry", {**WHY, "observation": {"observation_code": "pain", "score": 3}}, entry_id=entry)
    entry = walk.made(f"{prefix}add_intervention", {"intervention_code": "reassurance"})
    walk.do(f"{prefix}move_entry", other, entry_id=entry)
    walk.do(f"{prefix}add_support", {"support_code": "music"})
    walk.do(f"{prefix}add_adverse_event", AE)
    walk.do(f"{prefix}add_waste", WASTE)
    for name in ("call_emergency", "log_emergency", "end_emergency"):
        walk.do(prefix + name, {"log_code": "airway_opened"} if name == "log_emergency" else {})
    walk.do(f"{prefix}stop_dose", {})
    walk.do(f"{prefix}discharge", {**FIT, "override_reason": "alone"}, "prescriber")
    walk.do(f"{prefix}complete")
    opened(walk, prefix, 1)
    walk.do(f"{prefix}leave", {"disposition": "left_unseen"})


def a_reading(walk: Walk, prefix: str, seconds_ago: float = 0) -> str:
    """Its id."""
    at = rfc3339(walk.stack.now() - timedelta(seconds=seconds_ago))
    reading = {"sign": "8867-4", "value": 71, "unit": "/min", "taken_at": at, "device": "m1"}
    walk.do(f"{prefix}take_vitals", {"readings": [reading]}, "nurse")
    rows = walk.read(f"/v1/sessions/{walk.ids['session_id']}/vitals", "monitoring")["items"]
    return next(str(row["id"]) for row in rows if row["taken_at"] == at)


def an_alarm(walk: Walk) -> None:
    session = opened(walk, "", 2)
    walk.do("add_observation", {"observation_code": "moaas", "score": 3})
    found = walk.first(f"/v1/escalations?session_id={session}", "notifications")
    walk.ids["escalation_id"] = found["id"]
    walk.do("acknowledge_escalation")
    alarm = walk.first(f"/v1/alarms?session_id={session}", "monitoring")
    for name in ("escalate", "silence", "acknowledge", "attend", "suppress"):
        walk.do(name, alarm_id=alarm["id"])


def a_course(walk: Walk) -> None:
    """Booked, held by an abort, released."""
    path = f"/v1/courses/{walk.ids['plan_id']}"
    walk.until(lambda: walk.read(path, "scheduling")["known"])
    walk.do("book_whole_course", {"starts": [THREE], "resources": [walk.ids["resource_id"]]})
    opened(walk, "", 1, patient_id=walk.ids["patient_id"], plan_id=walk.ids["plan_id"])
    walk.do("abort")
    walk.until(lambda: walk.read(path, "scheduling")["holds"])
    walk.do("release_course", {"reason_code": "aborted"})


def work_and_messages(walk: Walk) -> None:
    walk.ids["task_id"] = walk.first("/v1/tasks", "notifications")["id"]
    for name in ("claim_task", "snooze_task", "finish_task"):
        walk.do(name, {"until": "2031-03-03T15:00:00Z"} if name == "snooze_task" else None)
    inquiry = walk.made("receive_inquiry")
    found = walk.first(f"/v1/messages?subject_id={inquiry}&state=delivered", "notifications")
    walk.ids["message_id"] = found["id"]
    walk.do("resend_message")
    walk.do("erase_inquiry", inquiry_id=inquiry)


def the_end(walk: Walk) -> None:
    walk.do("flag_risk")
    walk.do("clear_risk")
    walk.do("revoke_consent")
    walk.do("discontinue_plan")
    walk.do("erase_patient", patient_id=walk.made("register_patient"))
