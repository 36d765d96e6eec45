"""The esketamine chair: a calm session, with what the REMS asks of it and its two hours."""

from deploy.local.day.chair import LEAVES, Chair
from shared.events import intake, monitoring

DEVICE = {"medication": "esketamine", "lot": "E7", "expiry": "2028-01", "amount_mg": 28}
ASKED_HERE = {"no_prescriber_on_site", "no_oximeter"}


class EsketamineChair(Chair):
    name, number, route, consent = "esketamine", "3", "esketamine_nasal", "esketamine_treatment"
    person, label = "Eve Example", "ÉVÉ8"

    def arrive(self) -> None:
        self.come()
        self.cleared()
        path, enrolled = f"/v1/patients/{self.patient}/rems-enrolment", {"status": "enrolled"}
        self.call("nurse", "PUT", "intake", path, enrolled, If_Match='"v0"')
        self.say("nurse", "enrols the patient in the REMS", intake.RemsEnrolmentChanged)
        self.open_session()
        self.sit_down(118, missing=ASKED_HERE)
        self.say("monitor", "sends by its own name once a minute: 118/71, SpO2 97 %")
        self._devices()

    def _devices(self) -> None:
        self.facts["alone"] = self.refused("dose", DEVICE)
        self.say("monitoring", f"refuses the spray: {', '.join(self.facts['alone'])}")
        named = DEVICE | {"prescriber_on_site": self.clinic.doctor}
        both = named | {"amount_mg": 56}
        self.until("the staff directory in monitoring", lambda: self.refused("dose", both) == ["device_amount"])
        self.say("monitoring", "refuses 56 mg at once: device_amount")
        self.post("dose", named)
        self.say("nurse", "first device, 28 mg; a prescriber is on site", monitoring.DoseAdministered)
        self.facts["too_soon"] = self.refused("dose", named)
        self.say("monitoring", f"refuses the next at once: {', '.join(self.facts['too_soon'])}")
        self.minutes_after_dose(5)
        self.post("dose", named)
        self.say("nurse", "second device five minutes later: 56 mg", monitoring.DoseAdministered)

    def treat(self) -> None:
        self.post("support", {"support_code": "music"}, expect=201)
        self.observe("comfort", score=9)
        self.say("nurse", "puts on music; the patient is comfortable")

    def leave(self) -> None:
        self.minutes_after_dose(40)
        self.post("dose/stop", {})
        self.say(
            "monitor", "blood pressure 40 minutes after the spray: 118/71; recovery begins", monitoring.DoseStopped
        )
        self.minutes_after_dose(70)
        self._too_early()
        self.minutes_after_dose(100)
        self.observe("moaas", score=5)
        self.minutes_after_dose(120)
        self.recovered()
        self.facts["nurse_alone"] = self.refused("discharge", LEAVES)
        self.discharge("prescriber", "discharges the patient after two hours; there was no alarm")
        self.facts["alarms"] = self.alarms()

    def _too_early(self) -> None:
        """Nobody passes the two hours, whatever the reason."""
        self.recovered()
        wish = LEAVES | {"override_reason": "patient_feels_well"}
        self.facts["too_early"] = self.refused("discharge", wish, "prescriber")
        text = f"refuses the discharge after 70 minutes, with a reason too: {', '.join(self.facts['too_early'])}"
        self.say("monitoring", text)
