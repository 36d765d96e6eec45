"""What every chair of the day has: a patient, a nurse, a monitor, a session with its gate, its scales and its discharge."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from deploy.local.day.clinic import PATIENCE_SECONDS, SLOW, Clinic
from deploy.local.day.monitor import Monitor
from shared.events import intake, monitoring
from shared.events.envelope import Event, rfc3339

T = TypeVar("T")
RECOVERED = {
    "aldrete": dict.fromkeys(("activity", "breathing", "circulation", "consciousness", "saturation"), 2),
    "padss": dict.fromkeys(("vitals", "gait_and_orientation", "pain_nausea_vomiting", "intake_and_voiding"), 2),
}
AFTERCARE = ["no_driving", "written_instructions", "emergency_contact"]
LEAVES = {"dissociation_resolved": True, "escort_confirmed": True, "aftercare": AFTERCARE}
READY = {"fasting": True, "escort_named": True, "escort_reachable": True, "well_today": True}
BASE = {"diastolic": 78, "heart_rate": 72, "spo2": 98, "weight_kg": 70}
BASE |= {"moaas": 5, "cadss6": 0, "suicidal_ideation": False}


class Chair(ABC):
    """One chair, in a room of its own. `facts` is what the journey test looks at."""

    name: ClassVar[str]
    number: ClassVar[str]
    route: ClassVar[str]
    consent: ClassVar[str]
    person: ClassVar[str]  # with the label: what must be found nowhere in the clear
    label: ClassVar[str]
    readings: ClassVar[str] = "/v1/vitals"  # where the monitor sends: its own name says whose they are

    def __init__(self, clinic: Clinic) -> None:
        self.clinic, self.patient, self.session = clinic, "", ""
        self.room = f"Room {uuid4().hex[:4]}"
        self.monitor = Monitor(clinic, f"monitor-{self.number}")
        self.call = clinic.call
        self.facts: dict[str, Any] = {}

    @abstractmethod
    def arrive(self) -> None:
        """From the door to the dose; clinical time is fast."""

    @abstractmethod
    def treat(self) -> None:
        """Clinical time is slow: alarms and pages go at their own pace."""

    @abstractmethod
    def leave(self) -> None:
        """Recovery, discharge and what follows; clinical time is fast."""

    @property
    def path(self) -> str:
        return f"/v1/sessions/{self.session}"

    def say(self, who: str, what: str, *caused: type[Event]) -> None:
        """Tells what happened, with the events that it caused once their records were read from the topics."""
        names = [self._heard(event) for event in caused]
        self.facts["heard"] = [*self.facts.get("heard", []), *names]
        self.clinic.tell(self.name, who, what, names)

    def _heard(self, event: type[Event]) -> str:
        """An event of this patient; of any, where it names none."""
        about = self.patient if event.model_fields["patient_id"].is_required() else None
        return self.until(f"{event.__name__} on the topics", lambda: self.clinic.ears.take(event, about))

    def until(self, what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
        return self.clinic.until(f"{what} ({self.name})", look, seconds)

    def post(self, step: str, body: Any = None, role: str = "nurse", expect: int = 200) -> Any:
        """A step of the session."""
        return self.call(role, "POST", "monitoring", f"{self.path}/{step}", body, expect)

    def refused(self, step: str, body: Any, role: str = "nurse") -> list[str]:
        """The step is not allowed; the codes of what stands against it."""
        answer = self.post(step, body, role, 409)
        return [row["code"] for row in answer["reasons"] if row.get("class") != "note"]

    def come(self) -> None:
        """A patient who calls, without an inquiry."""
        contact = {"name": self.person, "email": f"{uuid4().hex}@example.org"}
        known = {"birth_year": 1979, "contact": contact}
        self.patient = self.call("front_desk", "POST", "intake", "/v1/patients", known, 201)["id"]

    def cleared(self) -> None:
        """What the dose gate asks of intake."""
        path, until = f"/v1/patients/{self.patient}", rfc3339(self.clinic.clock.clinical_now() + timedelta(days=365))
        text = {"document": self.consent, "document_version": "3", "text_sha256": "ab" * 32}
        self.call("front_desk", "POST", "intake", f"{path}/consents", text, 201)
        codes: dict[str, list[str]] = {"allergies": [], "medications": ["rxnorm:36437"], "problems": ["icd10:F33.2"]}
        self.call("nurse", "PUT", "intake", f"{path}/clinical-summary", codes, If_Match='"v0"')
        approval = {"decision": "approved", "route": self.route, "indication": "icd10:F33.2", "valid_until": until}
        self.call("prescriber", "POST", "intake", f"{path}/eligibility", approval, 201)
        caused = (intake.ConsentSigned, intake.ClinicalSummaryChanged, intake.EligibilityDetermined)
        self.say("prescriber", "finds the patient eligible; consent signed, medicines compared", *caused)

    def open_session(self) -> None:
        """One that nobody booked."""
        opened = {"patient_id": self.patient, "route": self.route, "location_id": self.clinic.site}
        self.session = self.call("nurse", "POST", "monitoring", "/v1/sessions", opened, 201)["id"]

    def sit_down(self, systolic: float, *, missing: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Check-in, baseline and monitor, as soon as nothing but these (and `missing`) stands against a dose."""
        rest = {"no_baseline", "readiness_missing", *missing}
        self.until("what was told of the patient", lambda: self._gate() <= rest)
        arrival = {"identity_confirmed": True, "display_label": self.label, "room": self.room, "chair": self.number}
        arrival |= {"readiness": READY, "monitor": self.monitor.device}
        arrival["responsible_staff"] = [{"role": "nurse", "staff_id": self.clinic.nurse}]
        self.post("check-in", arrival)
        self.post("baseline", BASE | {"systolic": systolic})
        text = f"checks in the patient and takes the baseline: {systolic:g}/78"
        self.say("nurse", text, monitoring.SessionCheckedIn)
        self.monitor.shows(systolic)
        self.plug_in()

    def plug_in(self) -> None:
        """The monitor is heard."""
        self.monitor.plug_in(self.readings.format(session_id=self.session))
        self.until("the monitor", lambda: self.monitor.taken)

    def new_pace(self) -> None:
        """Clinical time has become slow: the monitor says so, and three readings have come."""
        self.monitor.interval_s, before = SLOW, self.monitor.taken
        self.until("readings at the new pace", lambda: self.monitor.taken > before + 2)

    def _gate(self) -> set[str]:
        """What stands against a dose now."""
        gate = self.call("nurse", "GET", "monitoring", f"{self.path}/gate")
        return {reason["code"] for reason in gate["reasons"] if reason["kind"] != "note"}

    def alarms(self, query: str = "") -> list[dict[str, Any]]:
        found = self.call("nurse", "GET", "monitoring", f"/v1/alarms?session_id={self.session}{query}")
        rows: list[dict[str, Any]] = found["items"]
        return rows

    def pages(self) -> list[dict[str, Any]]:
        return self.clinic.arrived("pager", self.room)

    def paged(self, staff_id: str) -> dict[str, Any] | None:
        return next((row for row in self.pages() if row["body"]["to"] == f"pager-{staff_id}"), None)

    def observe(self, code: str, **seen: Any) -> None:
        self.post("observations", {"observation_code": code, **seen}, expect=201)

    def recovered(self) -> None:
        """What the discharge gate reads."""
        for scale, items in RECOVERED.items():
            self.observe(scale, items=items)
        self.observe("moaas", score=5)

    def minutes_after_dose(self, minutes: float) -> None:
        """Waits until so many have passed since the last one."""
        doses = self.call("nurse", "GET", "monitoring", self.path)["doses"]
        last = max(datetime.fromisoformat(dose["at"]) for dose in doses)
        self.clinic.until_clinical(last + timedelta(minutes=minutes))

    def discharge(self, role: str, what: str, **found: Any) -> None:
        """The monitor is taken off, the patient goes, the record is finished."""
        self.monitor.unplug()
        self.facts["discharged"] = self.post("discharge", LEAVES | found, role)
        self.say(role, what, monitoring.PatientDischarged)
        self.post("complete")
        self.say("nurse", "completes the session", monitoring.SessionCompleted)
