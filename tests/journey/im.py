"""The IM chair, beside those that `make run` shows: two people check the injection; nobody says when its effect is over."""

from deploy.local.day.chair import LEAVES, Chair
from shared.events import monitoring

DOSE = {"medication": "ketamine", "lot": "M5", "expiry": "2028-01", "amount_mg": 70}


class ImChair(Chair):
    name, number, route, consent = "IM", "5", "im", "ketamine_treatment"
    person, label = "Ian Example", "ÏÀN6"

    def arrive(self) -> None:
        self.come()
        self.cleared()
        second = {"staff_id": self.clinic.second, "roles": ["nurse"], "locations": []}
        self.call("medical_director", "POST", "scheduling", "/v1/staff", second, 201)
        self.open_session()
        self.sit_down(121)
        self.facts["alone"] = self.refused("dose", DOSE)
        checked = DOSE | {"checked_by": self.clinic.second}
        much = checked | {"amount_mg": 110}
        self.until("the second nurse in monitoring", lambda: self.refused("dose", much) == ["above_ceiling"])
        self.post("dose", checked)
        self.say("nurse", "injects 70 mg, checked by a second nurse", monitoring.DoseAdministered)

    def treat(self) -> None:
        self.observe("comfort", score=8)

    def leave(self) -> None:
        self.minutes_after_dose(61)
        self.until("recovery", lambda: self.call("nurse", "GET", "monitoring", self.path)["state"] == "recovery")
        self.minutes_after_dose(100)
        self.recovered()
        self.facts["too_early"] = self.refused("discharge", LEAVES)
        self.minutes_after_dose(120)
        self.recovered()
        self.discharge("nurse", "discharges the patient two hours after the injection")
        self.facts["alarms"] = self.alarms()
