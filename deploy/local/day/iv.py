"""The IV chair: one patient from the web form to the aftercare, with an alarm that nobody answers at first."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from deploy.local.day.chair import LEAVES, Chair
from deploy.local.day.clinic import FAST, SLOW, DayError
from shared.events import intake, monitoring, notifications, scheduling
from shared.events.envelope import rfc3339

NAME, PHONE = "Ada Example", "+12025550123"
NOTE = "hears her late grandmother singing"
INFUSED_MINUTES = 40
DOSE = {"medication": "ketamine", "lot": "L42", "expiry": "2028-01"}


class IvChair(Chair):
    name, number, route, consent = "IV", "2", "iv", "ketamine_treatment"
    person, label = NAME, "ÄDÄ7"
    readings = "/v1/sessions/{session_id}/vitals"

    def arrive(self) -> None:
        self._rooms()
        self._first_contact()
        self.cleared()
        self._plan()
        self._booking()
        self._dose()

    def treat(self) -> None:
        self.monitor.shows(130)
        self.new_pace()
        self.say("monitor", f"vital signs every {SLOW:g} s: 130/78, calm")
        self._spike()
        self._clear()

    def leave(self) -> None:
        self._discharge()
        self._what_follows()

    def _rooms(self) -> None:
        for kind, label in (("room", self.room), ("chair", f"C-{self.room[-4:]}")):
            made = self.call("front_desk", "POST", "scheduling", "/v1/resources", {"kind": kind, "label": label}, 201)
            self.facts[kind] = made["id"]
        self.say("front desk", f"opens {self.room}")

    def _first_contact(self) -> None:
        address = f"ada.{uuid4().hex[:8]}@example.org"
        self.facts["email"] = address
        form = {"contact": {"name": NAME, "email": address, "phone": PHONE}}
        headers = {"Publishable-Key": "pk_local_demo", "Idempotency-Key": f'"{uuid4()}"'}
        url, client = f"{self.clinic.stack.url('intake')}/v1/inquiries", self.clinic.client
        answers = [client.post(url, json=form, headers=headers) for _ in range(2)]
        if [row.status_code for row in answers] != [201, 201] or answers[0].json() != answers[1].json():
            raise DayError(f"The web form sent twice was not answered alike: {[row.text[:200] for row in answers]}")
        inquiry = answers[0].json()["id"]
        self.say("a person", "sends the web form, twice by mistake: one inquiry", intake.InquiryReceived)
        self.until("the acknowledgement", lambda: self.clinic.arrived("email", address))
        self.say("notifications", "acknowledges it by e-mail")
        body = {"birth_year": 1984}
        self.patient = self.call("front_desk", "POST", "intake", f"/v1/inquiries/{inquiry}/convert", body, 201)["id"]
        self.say(
            "front desk",
            "calls back; the inquiry becomes a patient with contact data",
            intake.PatientRegistered,
            intake.ContactRecord,
        )
        self.facts |= {"inquiry": inquiry, "patient": self.patient}

    def _plan(self) -> None:
        wanted = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
        path = f"/v1/patients/{self.patient}/plans"
        plan = self.call("clinician", "POST", "intake", path, wanted, 201)["id"]
        self.call("nurse", "POST", "intake", f"/v1/plans/{plan}/activate", None, 403, If_Match='"v1"')
        self.call("prescriber", "POST", "intake", f"/v1/plans/{plan}/activate", If_Match='"v1"')
        self.say("prescriber", "activates the plan: IV ketamine 0.5 mg/kg, 6 sessions", intake.TreatmentPlanActivated)
        self.facts["plan"] = plan

    def _booking(self) -> None:
        start = self.clinic.clock.clinical_now() + timedelta(minutes=30)
        body: dict[str, Any] = {"patient_id": self.patient, "plan_id": self.facts["plan"], "kind": "dosing"}
        body |= {"start": rfc3339(start), "end": rfc3339(start + timedelta(hours=3))}
        body["resources"] = [self.facts["room"], self.facts["chair"]]
        made = self.until("the plan in scheduling", lambda: self._book(body))
        self.facts["appointment"] = made["id"]
        text = f"books dosing session {made['sequence_no']} of {made['of']}"
        self.say("front desk", text, scheduling.AppointmentBooked)
        self.call("front_desk", "POST", "scheduling", "/v1/appointments", body, 409)
        self.say("front desk", "tries the same chair again and is refused: it is taken")
        self._messages()
        path = f"/v1/sessions?appointment_id={made['id']}"
        found = self.until("the session", lambda: self.call("nurse", "GET", "monitoring", path)["items"])
        self.session = self.facts["session"] = found[0]["id"]

    def _book(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Books once scheduling knows the plan; until then the booking has no number and is not what is wanted."""
        page = self.call("front_desk", "GET", "scheduling", f"/v1/courses/{body['plan_id']}")
        return self.call("front_desk", "POST", "scheduling", "/v1/appointments", body, 201) if page["known"] else None

    def _messages(self) -> None:
        mail = self.until("the confirmation", lambda: self._mail("appointment is confirmed"))
        self.facts["calendar"] = [part["filename"] for part in mail["parts"] if part["type"] == "text/calendar"]
        self.say("notifications", "confirms by e-mail with a calendar file")
        self.until("the reminder", lambda: self._mail("A reminder"))
        self.say("scheduling", "a reminder timer fires; the e-mail is out", scheduling.ReminderDue)

    def _mail(self, subject: str) -> dict[str, Any] | None:
        found = [row for row in self.clinic.arrived("email", self.facts["email"]) if subject in row["subject"]]
        return found[-1] if found else None

    def _dose(self) -> None:
        self.sit_down(124)
        self.facts["dose_reasons"] = self.refused("dose", DOSE | {"amount_mg": 90})
        self.say("monitoring", f"refuses 90 mg: {', '.join(self.facts['dose_reasons'])}")
        self.post("dose", DOSE | {"amount_mg": 35})
        self.say("nurse", "gives 35 mg (0.5 mg/kg)", monitoring.SessionStarted, monitoring.DoseAdministered)
        self.observe("moaas", score=5, note=NOTE)

    def _spike(self) -> None:
        self.monitor.shows(192)
        self.say("monitor", "the blood pressure spikes: 192")
        page = self.until("the first page", lambda: self.paged(self.clinic.nurse), 30)
        self.facts["page"] = page["body"]["text"]
        self.say("notifications", f"pages the responsible nurse: {page['body']['text']}", monitoring.VitalsAbnormal)
        self.until("the second step", lambda: self.paged(self.clinic.second))
        self.say("notifications", "no answer: pages all nurses", notifications.EscalationStepTaken)
        page = self.until("the third step", lambda: self.paged(self.clinic.doctor))
        self.say("notifications", "no answer: pages the prescriber", notifications.EscalationStepTaken)
        self._acknowledge(page["body"]["link"])

    def _alarm(self) -> dict[str, Any]:
        rows = self.alarms("&priority=high")
        self.facts["alarms"] = len(rows)
        return next(row for row in rows if row["rule"] == "sbp_critical_high")

    def _acknowledge(self, link: str) -> None:
        client = self.clinic.client
        shown = client.get(link)
        if shown.status_code != 200 or self._alarm().get("acknowledged_at"):
            raise DayError("Opening the link must show the alarm and acknowledge nothing.")
        for _ in range(2):
            client.post(link).raise_for_status()
        text = "opens the one-time link (it only shows) and presses the button"
        self.say("prescriber", text, notifications.EscalationAcknowledged)
        self.until("the acknowledgement", lambda: self._alarm().get("acknowledged_at"), 20)
        self.say("monitoring", "the alarm is acknowledged")
        self.call("nurse", "POST", "monitoring", f"/v1/alarms/{self._alarm()['id']}/attend")
        self.say("nurse", "is at the chair", monitoring.AlarmAttended)

    def _clear(self) -> None:
        self.monitor.interval_s = FAST
        self.monitor.shows(132)
        self.until("the alarms to clear", self._all_closed, 30)
        self.facts["pages"] = len(self.pages())
        self.say("monitor", "values fall to 132; the alarms clear", monitoring.AlarmCleared)

    def _all_closed(self) -> bool:
        rows = self.alarms()
        for row in rows:
            if row["open"] and not row.get("acknowledged_at"):
                self.call("nurse", "POST", "monitoring", f"/v1/alarms/{row['id']}/acknowledge")
        return not any(row["open"] for row in rows)

    def _discharge(self) -> None:
        self.monitor.shows(126)
        self.minutes_after_dose(INFUSED_MINUTES)
        self.post("dose/stop", {"given_mg": 35})
        text = f"ends the infusion after {INFUSED_MINUTES} minutes; recovery begins"
        self.say("nurse", text, monitoring.DoseStopped)
        self.facts["discharge_reasons"] = self.refused("discharge", LEAVES | {"escort_confirmed": False})
        self.say("monitoring", f"refuses the discharge: {', '.join(self.facts['discharge_reasons'])}")
        self.minutes_after_dose(INFUSED_MINUTES + 30)
        self.observe("moaas", score=5)
        self.minutes_after_dose(INFUSED_MINUTES + 60)
        written = {"aldrete", "padss", "moaas"}
        self.until("the rest to be right", lambda: set(self.refused("discharge", LEAVES)) <= written)
        self.recovered()
        self.discharge("nurse", "discharges the patient with the escort")

    def _what_follows(self) -> None:
        plan = self.facts["plan"]
        path = f"/v1/appointments?plan_id={plan}&kind=integration"
        booked = self.until("the integration", lambda: self.call("nurse", "GET", "scheduling", path)["items"])
        self.facts["integrations"] = len(booked)
        self.say("scheduling", f"books the integration session for {booked[0]['start']}", scheduling.AppointmentBooked)
        path = f"/v1/plans/{plan}"
        done = self.until("the progress", lambda: self.call("clinician", "GET", "intake", path)["sessions_done"])
        self.facts["sessions_done"] = done
        self.say("intake", f"counts the plan's progress: {done} of 6")
        self.until("the aftercare", lambda: self._mail("After your session"))
        self.say("notifications", "sends the aftercare message")
        path = f"/v1/appointments/{self.facts['appointment']}"
        self.facts["appointment_state"] = self.call("nurse", "GET", "scheduling", path)["state"]
