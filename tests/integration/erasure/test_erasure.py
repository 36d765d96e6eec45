"""A person asks to be forgotten: with the times shortened, nothing of them is left in a store, a topic or a log."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from bson import encode
from pymongo import MongoClient

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from services.intake.usecases import erasing
from shared.messaging.topics import CONTACTS, SERVICES
from shared.persistence.mongo import Mongo
from tests.integration.intake.test_rekeying import OLD, SCOPE, SHORT, contact_events, intake, known
from tests.integration.monitoring.test_doses import WASTE
from tests.integration.monitoring.test_nurse import ARRIVAL, BASE, DOSE
from tests.support.eventually import eventually


class Clinic:
    """The APIs with a director's and a front desk's token, and the stores behind them."""

    def __init__(self, stack: Stack, client: MongoClient[Any]) -> None:
        self.stack, self.client = stack, client
        self.intake = httpx.Client(verify=NO_TLS, base_url=stack.url("intake"), timeout=10)

    def post(self, path: str, body: Any, role: str = "medical_director", **headers: str) -> httpx.Response:
        return self.intake.post(path, json=body, headers=self.bearer(role) | headers)

    def at_bedside(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A nurse at monitoring."""
        url = self.stack.url("monitoring") + path
        return self.intake.request(method, url, json=body, headers=self.bearer("nurse") | headers)

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.token(role, f'{role}-1')}"}

    def inquiry(self, marker: str) -> str:
        contact = {"name": marker, "email": f"{marker}@example.org", "phone": "+12025550123"}
        body = {"channel": "phone", "contact": contact}
        made = self.post("/v1/inquiries", body, **{"Idempotency-Key": marker})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def stored(self, words: bytes) -> list[str]:
        """Every collection of every service in which these bytes stand."""
        return [
            f"{service}.{name}"
            for service in SERVICES
            for name in self.client[service].list_collection_names()
            if any(words in encode(row) for row in self.client[service][name].find({}))
        ]

    def on_disk(self, words: bytes) -> list[str]:
        """Kafka's segments and all logs in which these bytes stand."""
        files = [*(self.stack.home / "data" / "kafka").rglob("*.log"), *(self.stack.home / "log").glob("*.log")]
        return [path.name if path.parent.name == "log" else path.parent.name for path in files if _holds(path, words)]


def _holds(path: Path, words: bytes) -> bool:
    """A segment that was compacted away meanwhile holds nothing."""
    with suppress(FileNotFoundError):
        return words in path.read_bytes()
    return False


@pytest.fixture
def clinic(stack: Stack) -> Iterator[Clinic]:
    with MongoClient[Any](stack.mongodb_uri) as client:
        made = Clinic(stack, client)
        yield made
        made.intake.close()


async def shorten(stack: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    config = CONTACTS.config(1) | SHORT
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, CONTACTS.name, configs=config)])
    await admin.close()


async def test_an_inquirer_is_forgotten_by_every_store_topic_and_log(clinic: Clinic) -> None:
    await shorten(clinic.stack)
    marker = f"Zed{uuid4().hex}"
    inquiry_id = clinic.inquiry(marker)
    row = clinic.client.intake.outbox.find_one({"aggregate": f"contact/{inquiry_id}"})
    assert row is not None
    found = re.search(rb'"sealed":"([^"]+)"', row["value"])
    assert found is not None
    ciphertext = found.group(1)

    async def known() -> bool:
        contact = clinic.client.notifications.contacts.find_one({"_id": inquiry_id})
        return contact is not None and contact["sealed"] is not None and bool(clinic.on_disk(ciphertext))

    await eventually(known, 20)
    assert clinic.post(f"/v1/inquiries/{inquiry_id}/erase", {"reason_code": "asked_by_the_person"}).status_code == 200

    async def forgotten() -> bool:
        """The hourly roll is pulled forward each time: that is what shortens the day."""
        due = {"$set": {"due_at": datetime.now(UTC)}}
        clinic.client.intake.timers.update_many({"kind": "roll_partition"}, due)
        contact = clinic.client.notifications.contacts.find_one({"_id": inquiry_id})
        return contact is not None and contact["erased"] and not clinic.on_disk(ciphertext)

    await eventually(forgotten, 90)
    assert clinic.stored(ciphertext) == []
    assert clinic.stored(marker.encode()) == []
    assert clinic.on_disk(marker.encode()) == []
    for service in ("intake", "notifications"):
        assert clinic.client[service].data_keys.find_one({"_id": {"$regex": inquiry_id}}) is None


async def test_the_tombstone_is_said_again_each_hour_for_a_day(mongo: Mongo) -> None:
    inquiry_id, _ = await known(mongo)
    await mongo.run(SCOPE, lambda unit: erasing.erase_inquiry(unit, intake(OLD), inquiry_id, "duplicate"))
    apart = []
    while timers := await mongo.plumbing("timers").find({"key": f"roll:{inquiry_id}"}):
        apart.append(round((timers[0]["due_at"] - mongo.clock.system_now()).total_seconds() / 60))
        await mongo.plumbing("timers").delete({"_id": timers[0]["_id"]})
        await mongo.run(SCOPE, partial(erasing.roll, payload=timers[0]["payload"]))
    assert apart == [60] * 24
    assert await contact_events(mongo, subject_id=inquiry_id) == [None] * (1 + 24)


def answers(clinic: Clinic, *ids: str) -> int:
    """Stored answers of Idempotency-Keys about them, in all services."""
    about = {"about": {"$regex": "|".join(ids)}}
    return sum(clinic.client[service].idempotency.count_documents(about) for service in SERVICES)


async def test_the_stored_answer_to_an_inquirer_is_erased_with_him(clinic: Clinic) -> None:
    inquiry_id = clinic.inquiry(f"Wen{uuid4().hex}")
    assert answers(clinic, inquiry_id) == 1
    assert clinic.post(f"/v1/inquiries/{inquiry_id}/erase", {"reason_code": "duplicate"}).status_code == 200
    assert answers(clinic, inquiry_id) == 0


@pytest.mark.parametrize("kind", ["inquiry", "patient"])
def test_only_the_medical_director_erases_and_says_why(clinic: Clinic, kind: str) -> None:
    identifier, path = clinic.inquiry(f"Ted{uuid4().hex}"), "/v1/inquiries"
    if kind == "patient":
        converted = clinic.post(f"{path}/{identifier}/convert", {"birth_year": 1980}, "front_desk")
        identifier, path = converted.json()["id"], "/v1/patients"
    asked = {"reason_code": "asked_by_the_person"}
    for role in ("front_desk", "nurse", "clinician", "prescriber", "operator"):
        assert clinic.post(f"{path}/{identifier}/erase", asked, role).status_code == 403, role
    for body in (None, {}, {"reason_code": ""}, {"reason_code": "no reason of ours"}):
        assert clinic.post(f"{path}/{identifier}/erase", body).status_code == 422, body
    shown = clinic.intake.get(f"{path}/{identifier}", headers=clinic.bearer("front_desk"))
    assert shown.json()["version"] == 1


def test_who_has_become_a_patient_is_erased_as_a_patient(clinic: Clinic) -> None:
    inquiry_id = clinic.inquiry(f"Sid{uuid4().hex}")
    clinic.post(f"/v1/inquiries/{inquiry_id}/convert", {"birth_year": 1980}, "front_desk").raise_for_status()
    refused = clinic.post(f"/v1/inquiries/{inquiry_id}/erase", {"reason_code": "asked_by_the_person"})
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "inquiry_converted")


async def test_what_could_not_be_read_of_a_restricted_topic_is_erased_too(clinic: Clinic) -> None:
    inquiry_id = clinic.inquiry(f"Vic{uuid4().hex}")
    letters = clinic.client.notifications.dead_letters
    producer = AIOKafkaProducer(bootstrap_servers=clinic.stack.kafka)
    await producer.start()
    await producer.send_and_wait(CONTACTS.name, b"neither read nor lost", inquiry_id.encode())
    await producer.stop()

    async def kept() -> bool:
        return letters.count_documents({"key": inquiry_id.encode()}) == 1

    await eventually(kept, 20)
    assert clinic.post(f"/v1/inquiries/{inquiry_id}/erase", {"reason_code": "duplicate"}).status_code == 200

    async def gone() -> bool:
        return letters.count_documents({"key": inquiry_id.encode()}) == 0

    await eventually(gone, 20)


async def test_an_erased_patient_leaves_no_answer_and_no_note_in_any_service(clinic: Clinic) -> None:
    """His first contact is forgotten with him: its record lies under a key of its own in the topic."""
    inquiry_id = clinic.inquiry(f"Una{uuid4().hex}")
    key = {"Idempotency-Key": uuid4().hex}
    patient_id = clinic.post(f"/v1/inquiries/{inquiry_id}/convert", {"birth_year": 1980}, "front_desk", **key).json()[
        "id"
    ]
    session = clinic.at_bedside("POST", "/v1/sessions", {"patient_id": patient_id}, **key).json()["id"]
    path = f"/v1/sessions/{session}"
    noted = {"observation_code": "pain", "score": 1, "note": "sees her late mother"}
    clinic.at_bedside("POST", f"{path}/observations", noted, **key).raise_for_status()
    assert clinic.at_bedside("GET", f"{path}/timeline").json()["items"][0]["note"] == noted["note"]
    assert answers(clinic, inquiry_id, patient_id) == 4
    erased = clinic.post(f"/v1/patients/{patient_id}/erase", {"reason_code": "test_data", "scope": "all"})
    assert erased.status_code == 200

    async def forgotten() -> bool:
        return answers(clinic, inquiry_id, patient_id) == 0

    await eventually(forgotten, 20)
    shown = clinic.at_bedside("GET", f"{path}/timeline")
    assert (shown.status_code, "note" in shown.json()["items"][0]) == (200, False)
    rolls = clinic.client.intake.timers.find({"kind": "roll_partition"})
    assert {f"roll:{inquiry_id}", f"roll:{patient_id}"} <= {row["key"] for row in rolls}


async def test_doses_waste_the_rems_enrolment_and_the_audit_of_an_erased_patient_stay_without_a_name(
    clinic: Clinic,
) -> None:
    marker = f"Roy{uuid4().hex}"
    inquiry_id = clinic.inquiry(marker)
    patient_id = clinic.post(f"/v1/inquiries/{inquiry_id}/convert", {"birth_year": 1980}, "front_desk").json()["id"]
    enrolled = clinic.intake.put(
        f"/v1/patients/{patient_id}/rems-enrolment",
        json={"status": "enrolled"},
        headers=clinic.bearer("nurse") | {"If-Match": '"v0"'},
    )
    enrolled.raise_for_status()
    session_id = clinic.at_bedside("POST", "/v1/sessions", {"patient_id": patient_id}).json()["id"]
    path = f"/v1/sessions/{session_id}"
    for verb, body in (("check-in", ARRIVAL), ("baseline", BASE)):
        clinic.at_bedside("POST", f"{path}/{verb}", body).raise_for_status()
    alone = DOSE | {"override_reason": "alone"}
    clinic.at_bedside("POST", f"{path}/dose", alone, **clinic.bearer("prescriber")).raise_for_status()
    clinic.at_bedside("POST", f"{path}/waste", WASTE).raise_for_status()
    clinic.post(f"/v1/patients/{patient_id}/erase", {"reason_code": "test_data", "scope": "all"}).raise_for_status()

    async def erased() -> bool:
        return clinic.client.monitoring.erased.find_one({"_id": {"$regex": patient_id}}) is not None

    await eventually(erased, 20)
    (enrolment,) = clinic.client.intake.rems_enrolments.find({"_id": patient_id})
    assert enrolment["status"] == "enrolled"
    log = csv.DictReader(io.StringIO(clinic.at_bedside("GET", "/v1/controlled-substances.csv").text))
    assert [row["kind"] for row in log if row["patient_id"] == patient_id] == ["dose", "waste"]
    rows = clinic.client.monitoring.audit.find({"patient_id": patient_id})
    assert {"session.dose", "session.waste"} <= {row["action"] for row in rows}
    assert clinic.stored(marker.encode()) == []


def test_clinical_records_are_kept_while_their_retention_runs_and_contact_data_can_go(clinic: Clinic) -> None:
    inquiry_id = clinic.inquiry(f"Yan{uuid4().hex}")
    patient = clinic.post(f"/v1/inquiries/{inquiry_id}/convert", {"birth_year": 1980}, "front_desk").json()
    path = f"/v1/patients/{patient['id']}"
    plan = clinic.post(f"{path}/plans", {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}, "prescriber").json()
    clinic.post(f"/v1/plans/{plan['id']}/activate", None, "prescriber", **{"If-Match": '"v1"'}).raise_for_status()
    asked = {"reason_code": "asked_by_the_person"}
    refused = clinic.post(f"{path}/erase", {**asked, "scope": "all"})
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "retention")
    assert refused.json()["reasons"][0]["earliest_at"] > "2030"
    assert clinic.post(f"{path}/erase", asked, "nurse").status_code == 403
    erased = clinic.post(f"{path}/erase", asked)
    assert (erased.status_code, "contact" in erased.json()) == (200, False)


def test_a_legal_hold_keeps_clinical_records_until_the_director_lifts_it(clinic: Clinic) -> None:
    body = {"contact": {"name": "Wim", "email": "w@example.org"}, "birth_year": 1980}
    path = f"/v1/patients/{clinic.post('/v1/patients', body, 'front_desk').json()['id']}"
    erase = {"reason_code": "asked_by_the_person", "scope": "all"}
    subpoena, settled = {"reason_code": "subpoena"}, {"reason_code": "case_settled"}
    assert clinic.post(f"{path}/legal-hold/lift", settled).json()["reasons"][0]["code"] == "not_held"
    for role in ("front_desk", "prescriber", "operator"):
        assert clinic.post(f"{path}/legal-hold", subpoena, role).status_code == 403
    held = [clinic.post(f"{path}/legal-hold", subpoena).json() for _ in range(2)]
    assert [(row["legal_hold"], row["version"]) for row in held] == [(True, 2)] * 2
    refused = clinic.post(f"{path}/erase", erase)
    assert (refused.status_code, [row["code"] for row in refused.json()["reasons"]]) == (409, ["legal_hold"])
    assert clinic.post(f"{path}/erase", {**erase, "scope": "contact"}).status_code == 200
    assert clinic.post(f"{path}/legal-hold/lift", settled).json()["legal_hold"] is False
    assert clinic.post(f"{path}/erase", erase).status_code == 200
    rows = clinic.client.intake.audit.find({"subject": f"patient/{path.rpartition('/')[2]}"}).sort("at")
    told = [row["action"] for row in rows if "hold" in row["action"]]
    assert told == ["patient.hold.subpoena", "patient.hold.subpoena", "patient.lift_hold.case_settled"]


async def test_what_comes_late_about_an_erased_patient_is_skipped(clinic: Clinic) -> None:
    inquiry_id = clinic.inquiry(f"Xia{uuid4().hex}")
    patient = clinic.post(f"/v1/inquiries/{inquiry_id}/convert", {"birth_year": 1980}, "front_desk").json()
    path = f"/v1/patients/{patient['id']}"
    assert clinic.post(f"{path}/erase", {"reason_code": "test_data", "scope": "all"}).status_code == 200

    async def marked() -> bool:
        names = ("scheduling", "monitoring", "notifications")
        return all(clinic.client[name].erased.find_one({"_id": {"$regex": patient["id"]}}) for name in names)

    await eventually(marked, 20)
    plan = clinic.post(f"{path}/plans", {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}, "prescriber").json()
    clinic.post(f"/v1/plans/{plan['id']}/activate", None, "prescriber", **{"If-Match": '"v1"'})
    event = {"aggregate": f"plan/{plan['id']}", "state": "sent"}

    async def skipped() -> bool:
        row = clinic.client.intake.outbox.find_one(event)
        return row is not None and bool(clinic.client.monitoring.inbox.find_one({"_id": {"$regex": row["_id"]}}))

    await eventually(skipped, 20)
    assert clinic.client.monitoring.plans.find_one({"_id": plan["id"]}) is None
