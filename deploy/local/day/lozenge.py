"""The lozenge chair: its monitor falls silent, somebody is paged, the monitor is heard again."""

from typing import Any

from deploy.local.day.chair import LEAVES, Chair
from deploy.local.day.clinic import FAST
from shared.events import monitoring

DOSE = {"medication": "ketamine", "lot": "T3", "expiry": "2028-01", "amount_mg": 200}


class LozengeChair(Chair):
    name, number, route, consent = "lozenge", "4", "sublingual", "ketamine_treatment"
    person, label = "Leo Example", "LÈÖ9"

    def arrive(self) -> None:
        self.come()
        self.cleared()
        self.open_session()
        self.sit_down(122)
        self.post("dose", DOSE)
        self.say("nurse", "gives a lozenge of 200 mg", monitoring.SessionStarted, monitoring.DoseAdministered)

    def treat(self) -> None:
        self.new_pace()
        self.monitor.unplug()
        self.say("monitor", "falls silent")
        alarm = self.until("the alarm", self._silence, 30)
        self.say("monitoring", f"raises a technical alarm: {self.monitor.device} is not heard", monitoring.SignalLost)
        page = self.until("the page", lambda: self.paged(self.clinic.nurse), 30)
        self.facts["page"] = page["body"]["text"]
        self.say("notifications", f"pages the responsible nurse: {self.facts['page']}")
        self._answer(alarm["id"])
        self._back()

    def _silence(self) -> dict[str, Any] | None:
        return next((row for row in self.alarms() if row["rule"] == f"signal:{self.monitor.device}"), None)

    def _answer(self, alarm_id: str) -> None:
        for step in ("acknowledge", "attend"):
            self.call("nurse", "POST", "monitoring", f"/v1/alarms/{alarm_id}/{step}")
        caused = (monitoring.AlarmAcknowledged, monitoring.AlarmAttended)
        self.say("nurse", "accepts it, goes there and finds the plug out", *caused)

    def _back(self) -> None:
        self.monitor.interval_s = FAST
        self.plug_in()
        self.until("the alarm to clear", lambda: not any(row["open"] for row in self.alarms()), 30)
        self.say("monitor", "is heard again; the alarm clears", monitoring.SignalRestored)

    def leave(self) -> None:
        self.minutes_after_dose(90)
        self.recovered()
        self.facts["too_early"] = self.refused("discharge", LEAVES)
        self.say("monitoring", f"refuses the discharge after 90 minutes: {', '.join(self.facts['too_early'])}")
        text = "discharges the patient all the same; the reason stays in the record"
        self.discharge("prescriber", text, override_reason="recovered_early")
        self.facts["alarms"] = self.alarms()
