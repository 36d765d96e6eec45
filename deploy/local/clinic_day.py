"""A clinic day through the public APIs with real HTTP clients; says what happens, who did it and what it caused."""

import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from rich.console import Console
from rich.tree import Tree

from deploy.local.ears import Ears
from deploy.local.processes import StackError
from deploy.local.stack import CLOCK_FILE, ROOT, Stack
from shared.clock import ScaledClock, append_step
from shared.events import intake, monitoring, notifications, scheduling
from shared.events.envelope import Event, rfc3339

T = TypeVar("T")
FAST = 60.0
NAME, PHONE = "Ada Example", "+12025550123"  # with LABEL and NOTE: what must be found nowhere in the clear
LABEL, NOTE = "ÄDÄ7", "hears her late grandmother singing"
RECOVERED = {
    "aldrete": dict.fromkeys(("activity", "breathing", "circulation", "consciousness", "saturation"), 2),
    "padss": dict.fromkeys(("vitals", "gait_and_orientation", "pain_nausea_vomiting", "intake_and_voiding"), 2),
}
READING_SPAN = "POST /v1/sessions/{session_id}/vitals"
PATIENCE_SECONDS = 60.0


class DayError(Exception):
    """The day did not go as it should; the text says where."""


class Day:
    """One patient, from the web form to the aftercare. `facts` is what the journey test looks at."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack, self.console = stack, console
        self.clock = ScaledClock(stack.home / CLOCK_FILE)
        self.ears = Ears(stack.kafka)
        self.client = httpx.Client(timeout=15)
        self.facts: dict[str, Any] = {}
        self.room = f"Room {uuid4().hex[:4]}"
        self.nurse, self.second, self.doctor = (f"{role}-{uuid4().hex[:6]}" for role in ("nurse", "nurse", "doctor"))

    def say(self, who: str, what: str, *caused: type[Event]) -> None:
        """Prints what happened, with the events that it caused once their records were read from the topics."""
        names = [self._heard(event) for event in caused]
        self.facts["heard"] = [*self.facts.get("heard", []), *names]
        at = self.clock.clinical_now().strftime("%H:%M:%S")
        carried = f"  [cyan]{', '.join(names)}[/]" if names else ""
        self.console.print(f"[dim]{at}[/] [bold]{who:<12}[/] {what}{carried}")

    def _heard(self, event: type[Event]) -> str:
        return self.until(f"{event.__name__} on the topics", lambda: self.ears.take(event))

    def call(
        self, role: str, method: str, service: str, path: str, body: Any = None, expect: int = 200, **headers: str
    ) -> Any:
        token = self.stack.token(role, {"nurse": self.nurse, "prescriber": self.doctor}.get(role, f"{role}-1"))
        sent = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        answer = self.client.request(method, self.stack.url(service) + path, json=body, headers=sent)
        if answer.status_code != expect:
            raise DayError(f"{method} {path} answered {answer.status_code}, expected {expect}: {answer.text[:300]}")
        return answer.json() if answer.content else None

    def until(self, what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise DayError(f"Waited {seconds:.0f} s in vain for {what}; the logs are in {self.stack.home / 'log'}.")

    def arrived(self, kind: str, text: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.client.get(f"{self.stack.issuer}/messages", params={"kind": kind}).json()
        return [row for row in rows if text in str(row)]

    def rate(self, rate: float) -> None:
        step = append_step(self.stack.home / CLOCK_FILE, rate, after_s=0.5)
        self.until("the clock", lambda: self.clock.system_now() > step.system_at, 3)

    def play(self) -> dict[str, Any]:
        """However the day ends, the clinical clock goes at its own rate afterwards."""
        try:
            with self.ears:
                self._play()
        finally:
            append_step(self.stack.home / CLOCK_FILE, 1, after_s=0.5)
        return self.facts

    def _play(self) -> None:
        self.rate(FAST)
        self._staff()
        patient = self._first_contact()
        self._cleared(patient)
        plan = self._plan(patient)
        session, appointment = self._booking(patient, plan)
        self._dose(session)
        self.rate(1)
        self._spike(session)
        self.rate(FAST)
        self._leave(session)
        self._what_follows(plan, appointment)

    def _staff(self) -> None:
        for kind, label in (("room", self.room), ("chair", f"C-{self.room[-4:]}")):
            made = self.call("front_desk", "POST", "scheduling", "/v1/resources", {"kind": kind, "label": label}, 201)
            self.facts[kind] = made["id"]
        rota = {"nurse": [self.nurse, self.second], "prescriber": [self.doctor], "medical_director": ["director-1"]}
        self.call("medical_director", "PUT", "notifications", "/v1/on-call", rota, 204)
        for person in (self.nurse, self.second, self.doctor, "director-1"):
            body = {"pager": f"pager-{person}"}
            self.call("medical_director", "PUT", "notifications", f"/v1/staff-contacts/{person}", body, 204)
        self.say("front desk", f"opens {self.room}; the rota has two nurses, a prescriber and the director")

    def _first_contact(self) -> str:
        address = f"ada.{uuid4().hex[:8]}@example.org"
        self.facts["email"] = address
        form = {"contact": {"name": NAME, "email": address, "phone": PHONE}}
        headers = {"Publishable-Key": "pk_local_demo", "Idempotency-Key": f'"{uuid4()}"'}
        answers = [
            self.client.post(f"{self.stack.url('intake')}/v1/inquiries", json=form, headers=headers) for _ in range(2)
        ]
        if [row.status_code for row in answers] != [201, 201] or answers[0].json() != answers[1].json():
            raise DayError(f"The web form sent twice was not answered alike: {[row.text[:200] for row in answers]}")
        inquiry = answers[0].json()["id"]
        self.say("a person", "sends the web form, twice by mistake: one inquiry", intake.InquiryReceived)
        self.until("the acknowledgement", lambda: self.arrived("email", address))
        self.say("notifications", "acknowledges it by e-mail")
        body = {"birth_year": 1984}
        patient: str = self.call("front_desk", "POST", "intake", f"/v1/inquiries/{inquiry}/convert", body, 201)["id"]
        self.say(
            "front desk",
            "calls back; the inquiry becomes a patient with contact data",
            intake.PatientRegistered,
            intake.ContactRecord,
        )
        self.facts |= {"inquiry": inquiry, "patient": patient}
        return patient

    def _cleared(self, patient: str) -> None:
        """What the dose gate asks of intake."""
        path, until = f"/v1/patients/{patient}", rfc3339(self.clock.clinical_now() + timedelta(days=365))
        text = {"document": "ketamine_treatment", "document_version": "3", "text_sha256": "ab" * 32}
        self.call("front_desk", "POST", "intake", f"{path}/consents", text, 201)
        codes: dict[str, list[str]] = {"allergies": [], "medications": ["rxnorm:36437"], "problems": ["icd10:F33.2"]}
        self.call("nurse", "PUT", "intake", f"{path}/clinical-summary", codes, If_Match='"v0"')
        approval = {"decision": "approved", "route": "iv", "indication": "icd10:F33.2", "valid_until": until}
        self.call("prescriber", "POST", "intake", f"{path}/eligibility", approval, 201)
        caused = (intake.ConsentSigned, intake.ClinicalSummaryChanged, intake.EligibilityDetermined)
        self.say("prescriber", "finds the patient eligible; consent signed, medicines compared", *caused)

    def _plan(self, patient: str) -> str:
        wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
        plan: str = self.call("clinician", "POST", "intake", f"/v1/patients/{patient}/plans", wanted, 201)["id"]
        self.call("nurse", "POST", "intake", f"/v1/plans/{plan}/activate", expect=403, If_Match='"v1"')
        self.call("prescriber", "POST", "intake", f"/v1/plans/{plan}/activate", If_Match='"v1"')
        self.say("prescriber", "activates the plan: IV ketamine 0.5 mg/kg, 6 sessions", intake.TreatmentPlanActivated)
        self.facts["plan"] = plan
        return plan

    def _booking(self, patient: str, plan: str) -> tuple[str, str]:
        start = self.clock.clinical_now() + timedelta(minutes=30)
        body: dict[str, Any] = {"patient_id": patient, "plan_id": plan, "kind": "dosing", "start": rfc3339(start)}
        body |= {"end": rfc3339(start + timedelta(hours=3)), "resources": [self.facts["room"], self.facts["chair"]]}
        made = self.until("the plan in scheduling", lambda: self._book(body))
        appointment: str = made["id"]
        self.say(
            "front desk", f"books dosing session {made['sequence_no']} of {made['of']}", scheduling.AppointmentBooked
        )
        self.call("front_desk", "POST", "scheduling", "/v1/appointments", body, 409)
        self.say("front desk", "tries the same chair again and is refused: it is taken")
        mail = self.until("the confirmation", lambda: self._mail("appointment is confirmed"))
        self.facts["calendar"] = [part["filename"] for part in mail["parts"] if part["type"] == "text/calendar"]
        self.say("notifications", "confirms by e-mail with a calendar file")
        self.until("the reminder", lambda: self._mail("A reminder"))
        self.say("scheduling", "a reminder timer fires; the e-mail is out", scheduling.ReminderDue)
        path = f"/v1/sessions?appointment_id={appointment}"
        session = self.until("the session", lambda: self.call("nurse", "GET", "monitoring", path)["items"])[0]["id"]
        self.facts |= {"appointment": appointment, "session": session}
        return session, appointment

    def _book(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Books once scheduling knows the plan; until then the booking has no number and is not what is wanted."""
        page = self.call("front_desk", "GET", "scheduling", f"/v1/courses/{body['plan_id']}", expect=200)
        return self.call("front_desk", "POST", "scheduling", "/v1/appointments", body, 201) if page["known"] else None

    def _mail(self, subject: str) -> dict[str, Any] | None:
        found = [row for row in self.arrived("email", self.facts["email"]) if subject in row["subject"]]
        return found[-1] if found else None

    def _dose(self, session: str) -> None:
        path = f"/v1/sessions/{session}"
        self.until("what was told of the patient", lambda: self._gate(session) <= {"no_baseline", "readiness_missing"})
        ready = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
        arrival = {
            "identity_confirmed": True,
            "display_label": LABEL,
            "room": self.room,
            "chair": "2",
            "readiness": ready,
        }
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": self.nurse}]
        self.call("nurse", "POST", "monitoring", f"{path}/check-in", arrival)
        base = {"systolic": 124, "diastolic": 78, "heart_rate": 72, "spo2": 98, "weight_kg": 70}
        base |= {"moaas": 5, "cadss6": 0, "suicidal_ideation": False}
        self.call("nurse", "POST", "monitoring", f"{path}/baseline", base)
        self.say("nurse", "checks in the patient and takes the baseline: 124/78", monitoring.SessionCheckedIn)
        dose = {"medication": "ketamine", "lot": "L42", "expiry": "2028-01"}
        refused = self.call("nurse", "POST", "monitoring", f"{path}/dose", {**dose, "amount_mg": 90}, 409)
        self.facts["dose_reasons"] = [row["code"] for row in refused["reasons"]]
        self.say("monitoring", f"refuses 90 mg: {', '.join(self.facts['dose_reasons'])}")
        self.call("nurse", "POST", "monitoring", f"{path}/dose", {**dose, "amount_mg": 35})
        self.say("nurse", "gives 35 mg (0.5 mg/kg)", monitoring.SessionStarted, monitoring.DoseAdministered)
        seen = {"observation_code": "moaas", "score": 5, "note": NOTE}
        self.call("nurse", "POST", "monitoring", f"{path}/observations", seen, 201)

    def _gate(self, session: str) -> set[str]:
        """What stands against a dose now."""
        gate = self.call("nurse", "GET", "monitoring", f"/v1/sessions/{session}/gate")
        return {reason["code"] for reason in gate["reasons"] if reason["kind"] != "note"}

    def _vitals(self, session: str, systolic: float) -> None:
        at = rfc3339(self.clock.clinical_now())
        signs = (
            ("8480-6", systolic, "mm[Hg]"),
            ("8462-4", systolic * 0.6, "mm[Hg]"),
            ("8867-4", 80, "/min"),
            ("59408-5", 97, "%"),
        )
        readings = [{"sign": s, "value": v, "unit": u, "taken_at": at, "device": "monitor-2"} for s, v, u in signs]
        self.call("device", "POST", "monitoring", f"/v1/sessions/{session}/vitals", {"readings": readings})

    def _stream(self, session: str, systolic: float, what: str, look: Callable[[], T | None], seconds: float) -> T:
        """A device that measures once a second of real time until `look` finds what it wants."""
        due = time.monotonic()

        def measure() -> T | None:
            nonlocal due
            if time.monotonic() >= due:
                due += 1
                self._vitals(session, systolic)
            return look()

        return self.until(what, measure, seconds)

    def _pages(self) -> list[dict[str, Any]]:
        return self.arrived("pager", self.room)

    def _paged(self, staff_id: str) -> dict[str, Any] | None:
        return next((row for row in self._pages() if row["body"]["to"] == f"pager-{staff_id}"), None)

    def _spike(self, session: str) -> None:
        steady = time.monotonic() + 3
        self._stream(session, 130, "calm readings", lambda: time.monotonic() > steady, 10)
        self.say("monitor", "vital signs once a second: 130/78, calm")
        self.say("monitor", "the blood pressure spikes: 192")
        page = self._stream(session, 192, "the first page", lambda: self._paged(self.nurse), 30)
        self.facts["page"] = page["body"]["text"]
        self.say("notifications", f"pages the responsible nurse: {page['body']['text']}", monitoring.VitalsAbnormal)
        self._stream(session, 192, "the second step", lambda: self._paged(self.second), 60)
        self.say("notifications", "no answer: pages all nurses", notifications.EscalationStepTaken)
        page = self._stream(session, 192, "the third step", lambda: self._paged(self.doctor), 60)
        self.say("notifications", "no answer: pages the prescriber", notifications.EscalationStepTaken)
        self._acknowledge(session, page["body"]["link"])
        self._clear(session)

    def _alarm(self, session: str) -> dict[str, Any]:
        rows = self.call("nurse", "GET", "monitoring", f"/v1/alarms?session_id={session}&priority=high")["items"]
        self.facts["alarms"] = len(rows)
        alarm: dict[str, Any] = next(row for row in rows if row["rule"] == "sbp_critical_high")
        return alarm

    def _acknowledge(self, session: str, link: str) -> None:
        shown = self.client.get(link)
        if shown.status_code != 200 or self._alarm(session).get("acknowledged_at"):
            raise DayError("Opening the link must show the alarm and acknowledge nothing.")
        for _ in range(2):
            self.client.post(link).raise_for_status()
        self.say(
            "prescriber",
            "opens the one-time link (it only shows) and presses the button",
            notifications.EscalationAcknowledged,
        )
        self._stream(session, 192, "the acknowledgement", lambda: self._alarm(session).get("acknowledged_at"), 20)
        self.say("monitoring", "the alarm is acknowledged")
        self.call("nurse", "POST", "monitoring", f"/v1/alarms/{self._alarm(session)['id']}/attend")
        self.say("nurse", "is at the chair", monitoring.AlarmAttended)

    def _clear(self, session: str) -> None:
        def all_closed() -> bool:
            rows = self.call("nurse", "GET", "monitoring", f"/v1/alarms?session_id={session}")["items"]
            for row in rows:
                if row["open"] and not row.get("acknowledged_at"):
                    self.call("nurse", "POST", "monitoring", f"/v1/alarms/{row['id']}/acknowledge")
            return not any(row["open"] for row in rows)

        self._stream(session, 132, "the alarms to clear", all_closed, 30)
        self.facts["pages"] = len(self._pages())
        self.say("monitor", "values fall to 132; the alarms clear", monitoring.AlarmCleared)

    def _leave(self, session: str) -> None:
        aftercare = ["no_driving", "written_instructions", "emergency_contact"]
        found = {"dissociation_resolved": True, "escort_confirmed": False, "aftercare": aftercare}
        path = f"/v1/sessions/{session}/discharge"
        refused = self.call("nurse", "POST", "monitoring", path, found, 409)
        self.facts["discharge_reasons"] = [row["code"] for row in refused["reasons"]]
        self.say("monitoring", f"refuses the discharge: {', '.join(self.facts['discharge_reasons'])}")
        found["escort_confirmed"] = True
        self.until("the observation time to pass", lambda: self._time_passed(session, path, found), 120)
        for scale, items in RECOVERED.items():
            seen = {"observation_code": scale, "items": items}
            self.call("nurse", "POST", "monitoring", f"/v1/sessions/{session}/observations", seen, 201)
        awake = {"observation_code": "moaas", "score": 5}
        self.call("nurse", "POST", "monitoring", f"/v1/sessions/{session}/observations", awake, 201)
        self.call("nurse", "POST", "monitoring", path, found)
        self.say("nurse", "discharges the patient with the escort", monitoring.PatientDischarged)
        self.call("nurse", "POST", "monitoring", f"/v1/sessions/{session}/complete")
        self.say("nurse", "completes the session", monitoring.SessionCompleted)

    def _time_passed(self, session: str, path: str, found: dict[str, Any]) -> bool:
        """What is missing then is only what the nurse has yet to write down."""
        self._vitals(session, 126)
        answer = self.call("nurse", "POST", "monitoring", path, found, 409)
        return {row["code"] for row in answer["reasons"]} <= {"aldrete", "padss", "moaas"}

    def _what_follows(self, plan: str, appointment: str) -> None:
        path = f"/v1/appointments?plan_id={plan}&kind=integration"
        booked = self.until("the integration", lambda: self.call("nurse", "GET", "scheduling", path)["items"])
        self.facts["integrations"] = len(booked)
        self.say("scheduling", f"books the integration session for {booked[0]['start']}", scheduling.AppointmentBooked)
        done = self.until(
            "the progress", lambda: self.call("clinician", "GET", "intake", f"/v1/plans/{plan}")["sessions_done"]
        )
        self.facts["sessions_done"] = done
        self.say("intake", f"counts the plan's progress: {done} of 6")
        self.until("the aftercare", lambda: self._mail("After your session"))
        self.say("notifications", "sends the aftercare message")
        state = self.call("nurse", "GET", "scheduling", f"/v1/appointments/{appointment}")["state"]
        self.facts["appointment_state"] = state

    def trace(self) -> tuple[str, list[dict[str, Any]]]:
        """The trace of the last alarm that a reading raised (a tick raises others), once no span of it is under way."""

        def look() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = self.client.get(f"{self.stack.issuer}/spans").json()
            of_readings = {row["trace_id"] for row in rows if row["name"] == READING_SPAN}
            pages = [row for row in rows if row["name"] == "deliver pager" and row["trace_id"] in of_readings]
            spans = [row for row in rows if pages and row["trace_id"] == pages[-1]["trace_id"]]
            known = {row["span_id"] for row in spans} | {"", None}
            return spans if all(row["parent_id"] in known for row in spans) else []

        spans = self.until("the trace", look)
        return spans[0]["trace_id"], spans


def show_trace(console: Console, trace_id: str, spans: list[dict[str, Any]]) -> None:
    tree = Tree(f"trace {trace_id}")
    known = {row["span_id"] for row in spans}
    nodes: dict[str, Tree] = {}

    def add(parent: Tree, parent_id: str | None) -> None:
        children = [r for r in spans if (r["parent_id"] == parent_id if parent_id else r["parent_id"] not in known)]
        for row in sorted(children, key=lambda r: int(r["start_ns"])):
            ms = (row["end_ns"] - row["start_ns"]) / 1e6
            nodes[row["span_id"]] = parent.add(f"[bold]{row['service']}[/] {row['name']} [dim]{ms:.1f} ms[/]")
            add(nodes[row["span_id"]], row["span_id"])

    add(tree, None)
    console.print(tree)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, the clock is set back
    console = Console(highlight=False)
    stack = Stack(ROOT / ".local")
    day = Day(stack, console)
    try:
        day.play()
        show_trace(console, *day.trace())
    except (DayError, StackError, httpx.HTTPError) as error:
        console.print(f"[red]The day stopped:[/] {error}")
        sys.exit(1)
    for service in ("intake", "scheduling", "monitoring", "notifications"):
        console.print(f"  {service:<14} {stack.url(service)}/docs")
    console.print(f"  sinks          {stack.issuer}/messages\n  telemetry      {stack.issuer}/spans, /logs, /metrics")
    console.print("  a token        make token ROLE=nurse")
    console.print(f"  the board      {stack.url('monitoring')}/board (sign in as nurse)")
    console.print("  the end        make down")


if __name__ == "__main__":
    main()
