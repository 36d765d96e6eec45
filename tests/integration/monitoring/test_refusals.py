"""Every reason of the dose gate refuses a dose over HTTP; what others have to have told for it came through Kafka."""

import ast
import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from pymongo import MongoClient

from deploy.local.stack import Stack
from services.monitoring import gate
from services.monitoring.readiness import NOT_READY, TOO_SOON
from services.monitoring.wiring import PROTOCOLS, medicines
from shared.events import intake
from shared.events.envelope import Envelope, Event, rfc3339
from shared.ids import new_id
from shared.messaging.topics import topic_for
from tests.integration.monitoring.refusals import OWN, SITE, STAFF, STORIES, UNCERTIFIED, Story
from tests.integration.monitoring.test_nurse import ARRIVAL, Nurse
from tests.support.eventually import eventually

ESKETAMINE = "esketamine_nasal"
OVERRIDE = {"override_reason": "benefit_exceeds_risk"}
Refusals = dict[str, tuple[str, httpx.Response]]


class Ward(Nurse):
    """One clinic: its place, its people and its patients as others told of them."""

    def __init__(self, stack: Stack, where: str) -> None:
        super().__init__(stack)
        self.where, self.clinic = where, new_id()
        roles = {"nurse": "nurse-1", "prescriber": "doctor-1", "medical_director": "director-1"}
        self.bearers = {
            role: {"Authorization": f"Bearer {stack.token(role, who, self.clinic)}"} for role, who in roles.items()
        }
        self.client.headers.update(self.bearers["nurse"])
        self.patients = {name: (new_id(), new_id()) for name, story in STORIES.items() if story.where == where}

    def told(self) -> list[Event]:
        until = self.stack.now().replace(year=2099)
        places = [
            intake.Location(id=SITE, label="Main", rems_certified_until=until),
            intake.Location(id=UNCERTIFIED, label="Annex", rems_certified_until=None),
        ]
        profile = {"services": [], "languages": ["en"], "time_zone": "America/New_York"}
        clinic = intake.ClinicChanged(clinic_id=self.clinic, locations=places, **profile)
        of_patients = [event for name, ids in self.patients.items() for event in STORIES[name].events(*ids)]
        return [clinic, *STAFF, *of_patients]

    def signs(self) -> None:
        """The clinic's own version of the protocol."""
        content = yaml.safe_load((PROTOCOLS / "esketamine.yaml").read_text()) | {"version": f"own-{self.where}"}
        content |= {part: content[part] | changed for part, changed in OWN[self.where].items()}
        drafted = self.by("prescriber", "/v1/protocols", {"content": content})
        self.by("medical_director", f"/v1/protocols/{drafted['id']}/sign", None, **{"If-Match": '"v1"'})

    def by(self, role: str, path: str, body: Any, **headers: str) -> Any:
        answer = self.client.post(path, json=body, headers=self.bearers[role] | headers)
        assert answer.is_success, (path, answer.text)
        return answer.json()

    def arrives(self, name: str, story: Story, *, baseline: bool = True) -> str:
        """A session with the patient in the chair, a pulse oximeter on the finger and the baseline taken."""
        patient, plan = self.patients[name]
        opened = {"patient_id": patient, "plan_id": plan, "location_id": SITE, "route": ESKETAMINE} | dict(story.opened)
        path = f"/v1/sessions/{self.by('nurse', '/v1/sessions', opened)['id']}"
        readiness = story.readiness
        if readiness is not None and story.taken:
            readiness["last_intake"] = {kind: self.ago(minutes) for kind, minutes in story.taken.items()}
        self.by("nurse", f"{path}/check-in", ARRIVAL | {"readiness": readiness})
        if baseline:
            self.by("nurse", f"{path}/baseline", story.baseline | {"occurred_at": self.ago(story.minutes)})
        if story.oximeter:
            reading = {"sign": "59408-5", "value": 97, "unit": "%", "taken_at": self.ago(0), "device": "m1"}
            self.by("nurse", f"{path}/vitals", {"readings": [reading]})
        return path

    def dosed(self, path: str, story: Story, minutes: float = 10) -> None:
        """By a prescriber, whatever can be overridden."""
        self.by("prescriber", f"{path}/dose", story.proposed | OVERRIDE | {"occurred_at": self.ago(minutes)})

    def moved(self, path: str, to: str) -> None:
        [dose] = self.client.get(f"{path}/timeline?kind=dose").json()["items"]
        body = {"to_session_id": to.rpartition("/")[2], "reason_code": "wrong_session"}
        self.by("nurse", f"{path}/entries/{dose['id']}/move", body)

    def refusal(self, name: str) -> tuple[str, httpx.Response]:
        """The session of the story, and the answer to its dose."""
        story = STORIES[name]
        if story.before in ("dosed_elsewhere", "moved_here"):
            other = self.arrives(name, story)
            self.dosed(other, story)
        if story.before == "weighed_elsewhere":
            self.arrives(name, replace(story, base={}))
        path = self.arrives(name, story, baseline=story.before != "moved_here")
        if story.before == "moved_here":
            self.moved(other, path)
        if story.before == "treated":
            self.by("nurse", f"{path}/interventions", {"intervention_code": "antihypertensive"})
        if story.before in ("dosed", "dosed_just_now"):
            self.dosed(path, story, 0 if story.before == "dosed_just_now" else 10)
        return path, self.post(f"{path}/dose", story.proposed)


async def publish(stack: Stack, wards: list[Ward]) -> int:
    """As their owners would; returns how many events it were."""
    events = [(ward.clinic, event) for ward in wards for event in ward.told()]
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        for clinic, event in events:
            key = event.patient_id or new_id()
            source, now = f"/stillwater/{event.SERVICE}/test", rfc3339(stack.now())
            envelope = Envelope(new_id(), source, event.event_type(), now, clinic, key, f"{1:010d}.0001")
            value = event.model_dump_json(exclude_none=True).encode()
            await producer.send(topic_for(type(event)).name, value, key.encode(), headers=envelope.headers())
    return len(events)


async def everything_is_known(stack: Stack, wards: list[Ward]) -> None:
    count = await publish(stack, wards)
    clinics = {"clinic_id": {"$in": [ward.clinic for ward in wards]}}
    with MongoClient[Any](stack.mongodb_uri) as client:

        async def heard() -> bool:
            return sum(client.monitoring[name].count_documents(clinics) for name in ("known", "plans")) == count

        await eventually(heard, 60)
    path = wards[0].arrives("other_medication", STORIES["other_medication"])

    async def up_to_date() -> bool:
        reasons = wards[0].client.get(f"{path}/gate").json()["reasons"]
        return not [reason for reason in reasons if reason["code"].startswith("behind_")]

    await eventually(up_to_date, 30)


@pytest.fixture(scope="module")
def wards(stack: Stack) -> Iterator[dict[str, Ward]]:
    made = {where: Ward(stack, where) for where in ("main", *OWN)}
    for where in OWN:
        made[where].signs()
    asyncio.run(everything_is_known(stack, list(made.values())))
    yield made
    for ward in made.values():
        ward.client.close()


@pytest.fixture(scope="module")
def refusals(wards: dict[str, Ward]) -> Refusals:
    return {name: wards[story.where].refusal(name) for name, story in STORIES.items()}


@pytest.mark.parametrize("name", STORIES)
def test_a_dose_is_refused_with_exactly_these_reasons_and_their_classes(refusals: Refusals, name: str) -> None:
    answer = refusals[name][1]
    assert answer.status_code == 409, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert {reason["code"]: reason["class"] for reason in answer.json()["reasons"]} == STORIES[name].refused


@pytest.mark.parametrize("name", STORIES)
def test_a_prescriber_overrides_what_is_overridable_and_nothing_else(
    wards: dict[str, Ward], refusals: Refusals, name: str
) -> None:
    story, (path, _) = STORIES[name], refusals[name]
    ward = wards[story.where]
    answer = ward.client.post(f"{path}/dose", json=story.proposed | OVERRIDE, headers=ward.bearers["prescriber"])
    assert answer.status_code == (409 if "absolute" in story.refused.values() else 200), answer.text


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if "note" in story.refused.values()])
def test_a_note_alone_refuses_nothing(wards: dict[str, Ward], refusals: Refusals, name: str) -> None:
    path, ward = refusals[name][0], wards[STORIES[name].where]
    answer = ward.post(f"{path}/dose", STORIES[name].proposed | {"prescriber_on_site": "doctor-1"})
    assert answer.status_code == 200, answer.text


def test_whoever_adds_a_reason_adds_its_refusal(wards: dict[str, Ward], refusals: Refusals) -> None:
    """By what the gate's code says; a reason whose code is computed is named here with all that it can be."""
    sources = wards["main"].client.get(f"{refusals['no_plan-no_prescriber_on_site'][0]}/gate").json()["as_of"]
    interactions = [item.name for content in medicines().values() for item in content.interactions]
    computed = {
        "NOT_READY[name][0]": {code for code, _ in NOT_READY.values()},
        "NOT_READY['fasting'][0]": {NOT_READY["fasting"][0]},
        "TOO_SOON[kind][0]": {code for code, _ in TOO_SOON.values()},
        "item.code": {"allergy", *(f"interaction_{name}" for name in interactions)},
        "f'behind_{source}'": {f"behind_{source}" for source in sources},
    }
    codes = set[str]()
    for node in made():
        codes |= {str(node.value)} if isinstance(node, ast.Constant) else computed[ast.unparse(node)]
    assert len(codes) > 40
    assert codes == {code for story in STORIES.values() for code in story.refused}


def made() -> Iterator[ast.expr]:
    """The code of every `Reason` that is made where those of the gate are."""
    for path in sorted(Path(gate.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        if any((node.module or "").endswith("gate_found") for node in imports):
            calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
            yield from (node.args[0] for node in calls if ast.unparse(node.func) == "Reason")
