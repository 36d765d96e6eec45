"""A clinic's own protocol on the running system, and what a session keeps of it. A clinic of its own per test."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from deploy.local.plain import NO_TLS
from deploy.local.stack import Stack
from services.monitoring import schemas
from services.monitoring.routes.protocols import show_row
from services.monitoring.usecases import protocols, sessions
from services.monitoring.wiring import PROTOCOLS
from shared.errors import Conflict, Invalid, VersionConflict
from shared.events.envelope import rfc3339
from shared.ids import new_id
from shared.persistence.mongo import Document
from shared.persistence.scope import Actor, Scope
from tests.integration.monitoring.world import CLINIC, NURSE, Chair

TEXT = (PROTOCOLS / "iv.yaml").read_text()
ADULT = yaml.safe_load((PROTOCOLS / "limits" / "adult.yaml").read_text())["rules"]
DIRECTOR = Scope(CLINIC, Actor("director-1", "medical_director"))
ELSEWHERE = Scope("clinic-2", Actor("director-2", "medical_director"))


def stricter(ceiling: float, version: str = "iv-own", **others: Any) -> dict[str, Any]:
    content: dict[str, Any] = {**yaml.safe_load(TEXT), "version": version, "ceiling_mg_per_kg": ceiling}
    return content | others


class Office:
    """Whoever may, at one clinic's protocols."""

    def __init__(self, stack: Stack, clinic: str) -> None:
        self.stack, self.clinic = stack, clinic
        self.client = httpx.Client(verify=NO_TLS, base_url=stack.url("monitoring"), timeout=10)

    def asks(self, role: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.stack.token(role, role, clinic=self.clinic)}"}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.request(method, f"/v1/protocols{path}", json=body, headers=bearer | named)

    def drafts(self, ceiling: float, version: str = "iv-own") -> Any:
        answer = self.asks("prescriber", "POST", "", {"content": stricter(ceiling, version)})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def signs(self, identifier: str, role: str = "medical_director", etag: str = '"v1"') -> httpx.Response:
        return self.asks(role, "POST", f"/{identifier}/sign", If_Match=etag)


@pytest.fixture
def office(stack: Stack) -> Iterator[Office]:
    made = Office(stack, new_id())
    yield made
    made.client.close()


def test_a_draft_is_shown_compared_signed_and_superseded(office: Office) -> None:
    first = office.drafts(0.8)
    assert (first["state"], first["base"], first["version"]) == ("draft", "iv-2026-11", 1)
    changes = office.asks("nurse", "GET", f"/{first['id']}/diff").json()["changes"]
    assert {item["path"]: (item["old"], item["new"]) for item in changes} == {
        "ceiling_mg_per_kg": (1.0, 0.8),
        "version": ("iv-2026-11", "iv-own"),
    }
    said = office.asks("nurse", "GET", f"/{first['id']}/diff", Accept="text/plain").text
    assert "ceiling_mg_per_kg: 1.0 -> 0.8  [CFG, clinical.md 5]" in said
    signed = office.signs(first["id"])
    assert (signed.status_code, signed.headers["etag"], signed.json()["state"]) == (200, '"v2"', "signed")
    assert signed.json()["signed_by"] == "medical_director"
    second = office.drafts(0.7)
    assert second["base"] == first["version_id"]
    assert office.signs(second["id"]).status_code == 200
    states = {row["id"]: row["state"] for row in office.asks("nurse", "GET", "").json()["items"]}
    assert states == {first["id"]: "superseded", second["id"]: "signed"}


def test_a_limit_of_ones_own_is_all_that_differs_from_the_product(office: Office) -> None:
    rules = [rule | {"above": 190} if rule["name"] == "sbp_critical_high" else rule for rule in ADULT]
    sources = yaml.safe_load(TEXT)["sources"] | {"rules": "CFG, the clinic"}
    content = stricter(1.0, rules=rules, sources=sources)
    made = office.asks("prescriber", "POST", "", {"content": content}).json()
    changes = office.asks("nurse", "GET", f"/{made['id']}/diff").json()["changes"]
    assert {item["path"]: (item.get("old"), item.get("new")) for item in changes} == {
        "rules.sbp_critical_high.above": (180, 190),
        "sources.rules": (None, "CFG, the clinic"),
        "version": ("iv-2026-11", "iv-own"),
    }


def test_yaml_is_drafted_as_well_and_its_fault_has_the_line(office: Office) -> None:
    made = office.asks("prescriber", "POST", "", {"yaml": TEXT.replace("iv-2026-11", "iv-own")})
    assert made.status_code == 201
    text = TEXT.replace("  max_systolic: 140", "  max_systolix: 140")
    line = text[: text.index("max_systolix")].count("\n") + 1
    refused = office.asks("prescriber", "POST", "", {"yaml": text})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    told = [item["detail"] for item in refused.json()["errors"]]
    assert f"line {line}: gate: has a field that is not known; the nearest known name is max_systolic" in told
    assert "max_systolix" not in refused.text


def test_a_broken_hard_bound_is_named_and_nothing_is_kept(office: Office) -> None:
    refused = office.asks("prescriber", "POST", "", {"content": stricter(1.1)})
    assert refused.status_code == 422
    assert [item["pointer"] for item in refused.json()["errors"]] == ["/content/ceiling_mg_per_kg"]
    assert office.asks("nurse", "GET", "").json()["items"] == []


@pytest.mark.parametrize("role", ["front_desk", "nurse", "clinician", "prescriber"])
def test_only_the_medical_director_signs(office: Office, role: str) -> None:
    made = office.drafts(0.8)
    assert office.signs(made["id"], role).status_code == 403
    assert office.asks("nurse", "GET", f"/{made['id']}").json()["state"] == "draft"


@pytest.mark.parametrize("role", ["front_desk", "nurse", "clinician"])
def test_only_who_prescribes_drafts(office: Office, role: str) -> None:
    assert office.asks(role, "POST", "", {"content": stricter(0.8)}).status_code == 403


def test_a_signature_names_the_version_that_was_read(office: Office) -> None:
    made = office.drafts(0.8)
    assert office.signs(made["id"], etag='"v2"').status_code == 412
    assert office.asks("medical_director", "POST", f"/{made['id']}/sign").status_code == 428


def test_what_is_signed_is_not_signed_again_and_the_same_is_not_drafted_again(office: Office) -> None:
    made = office.drafts(0.8)
    office.signs(made["id"])
    again = office.signs(made["id"], etag='"v2"')
    assert (again.status_code, again.json()["reasons"][0]["code"]) == (409, "state")
    twice = office.asks("prescriber", "POST", "", {"content": stricter(0.8)})
    assert (twice.status_code, twice.json()["reasons"][0]["code"]) == (409, "exists")


def test_a_draft_of_which_the_base_changed_is_not_signed(office: Office) -> None:
    first, second = office.drafts(0.8), office.drafts(0.7)
    office.signs(first["id"])
    refused = office.signs(second["id"])
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "base_changed")


def test_another_clinics_version_is_not_there(office: Office, stack: Stack) -> None:
    made = office.drafts(0.8)
    other = Office(stack, new_id())
    assert other.asks("medical_director", "GET", f"/{made['id']}").status_code == 404
    assert other.signs(made["id"]).status_code == 404
    assert other.asks("nurse", "GET", f"/{made['id']}/diff").status_code == 404
    mine = other.drafts(0.8)
    unseen = other.asks(
        "nurse", "GET", f"/{mine['id']}/diff?against={office.drafts(0.6)['version_id'].replace('+', '%2B')}"
    )
    assert unseen.status_code == 404
    other.client.close()


def test_the_time_from_which_a_version_counts_is_asked_for_shown_and_listed(office: Office) -> None:
    monday = rfc3339(office.stack.now() + timedelta(days=3))
    body = {"content": stricter(0.8), "effective_at": monday}
    made = office.asks("prescriber", "POST", "", body).json()
    assert (made["state"], made["effective_at"]) == ("draft", monday)
    signed = office.signs(made["id"]).json()
    assert (signed["state"], signed["effective_at"]) == ("signed", monday)
    at_once = office.drafts(0.7)
    assert at_once["base"] == made["version_id"], "it is compared with what it takes the place of"
    changes = office.asks("nurse", "GET", f"/{at_once['id']}/diff").json()["changes"]
    assert [(item["path"], item["old"], item["new"]) for item in changes] == [("ceiling_mg_per_kg", 0.8, 0.7)]
    office.signs(at_once["id"]).raise_for_status()
    listed = {row["id"]: row for row in office.asks("nurse", "GET", "").json()["items"]}
    assert listed[at_once["id"]]["effective_at"] == listed[at_once["id"]]["signed_at"]
    assert listed[made["id"]]["effective_until"] == listed[at_once["id"]]["effective_at"], "it never counts"


@pytest.mark.parametrize("text", ["2000-01-01T00:00:00Z", "2199-01-01T00:00:00"], ids=["past", "without a zone"])
def test_a_time_that_has_passed_or_has_no_zone_is_refused(office: Office, text: str) -> None:
    refused = office.asks("prescriber", "POST", "", {"content": stricter(0.8), "effective_at": text})
    assert refused.status_code == 422
    assert [item["pointer"] for item in refused.json()["errors"]] == ["/effective_at"]


async def drafted(
    chair: Chair, content: Document, scope: Scope = DIRECTOR, effective_at: datetime | None = None
) -> Document:
    return await chair.mongo.run(scope, lambda unit: protocols.draft(unit, chair.deps, content, None, effective_at))


async def signs(chair: Chair, row: Document, scope: Scope = DIRECTOR) -> Document:
    return await chair.mongo.run(scope, lambda unit: protocols.sign(unit, chair.deps, row["_id"], 1))


async def signed(chair: Chair, content: Document, scope: Scope = DIRECTOR) -> Document:
    return await signs(chair, await drafted(chair, content, scope), scope)


def arrival() -> schemas.CheckIn:
    return schemas.CheckIn(
        identity_confirmed=True,
        display_label="ADA",
        room="R",
        chair="2",
        responsible_staff=[schemas.Staff(role="nurse", staff_id="nurse-1")],
        readiness=schemas.Readiness(fasting=True, escort_named=True, well_today=True),
    )


async def session_of(chair: Chair) -> Document:
    return await chair.mongo.reader(NURSE).collection("sessions").get(chair.session_id)


async def test_a_session_keeps_the_version_that_it_began_with(chair: Chair) -> None:
    first = await signed(chair, stricter(0.8))
    before = await session_of(chair)
    assert before["protocol_version"] == "iv-2026-11"
    await chair.seat(dose=False)
    begun = await session_of(chair)
    assert begun["protocol_version"] == first["version_id"]
    await signed(chair, stricter(0.6))
    assert chair.deps.dosing(await session_of(chair)).ceiling_mg_per_kg == 0.8
    await chair.seat(dose=False)
    assert chair.deps.dosing(await session_of(chair)).ceiling_mg_per_kg == 0.6


async def ceiling(chair: Chair) -> float:
    """Of a session that begins now."""
    await chair.seat(dose=False)
    return chair.deps.dosing(await session_of(chair)).ceiling_mg_per_kg


async def test_a_session_begun_before_a_versions_time_uses_the_former_and_one_after_it_the_new(chair: Chair) -> None:
    await signed(chair, stricter(0.8))
    tomorrow = chair.clock.clinical_now() + timedelta(days=1)
    await signs(chair, await drafted(chair, stricter(0.6), effective_at=tomorrow))
    assert await ceiling(chair) == 0.8
    before = await session_of(chair)
    chair.clock.advance(24 * 3600)
    assert chair.deps.dosing(before).ceiling_mg_per_kg == 0.8, "what has begun goes on as it began"
    assert await ceiling(chair) == 0.6


async def test_until_the_first_of_its_own_counts_a_clinic_goes_by_what_the_product_brings(chair: Chair) -> None:
    tomorrow = chair.clock.clinical_now() + timedelta(days=1)
    await signs(chair, await drafted(chair, stricter(0.6), effective_at=tomorrow))
    assert await ceiling(chair) == 1.0
    chair.clock.advance(24 * 3600)
    assert await ceiling(chair) == 0.6


async def test_a_version_that_is_signed_after_its_time_counts_from_its_signature(chair: Chair) -> None:
    row = await drafted(chair, stricter(0.6), effective_at=chair.clock.clinical_now() + timedelta(hours=1))
    chair.clock.advance(24 * 3600)
    assert await ceiling(chair) == 1.0
    assert (await signs(chair, row))["effective_at"] == chair.clock.clinical_now()
    assert await ceiling(chair) == 0.6


async def test_of_two_that_wait_each_counts_in_its_time_and_the_later_signature_takes_precedence(chair: Chair) -> None:
    begin = chair.clock.clinical_now()
    for ceiling_, days in ((0.9, 2), (0.8, 3), (0.7, 1)):
        await signs(chair, await drafted(chair, stricter(ceiling_), effective_at=begin + timedelta(days=days)))
        chair.clock.advance(1)
    counted = [await ceiling(chair)]
    for _ in range(3):
        chair.clock.advance(24 * 3600)
        counted.append(await ceiling(chair))
    assert counted == [1.0, 0.7, 0.7, 0.7]
    rows = await chair.mongo.plumbing("protocols").find({"state": "superseded"})
    assert {row["effective_until"] for row in rows} == {begin + timedelta(days=1)}


async def test_a_clock_that_is_a_little_behind_asks_for_now(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    row = await drafted(chair, stricter(0.6), effective_at=now - protocols.CLOCK_TOLERANCE)
    assert (await signs(chair, row))["effective_at"] == now
    with pytest.raises(Invalid):
        await drafted(chair, stricter(0.5), effective_at=now - protocols.CLOCK_TOLERANCE - timedelta(seconds=1))


async def test_what_was_signed_before_there_were_times_counts_from_its_signature(chair: Chair) -> None:
    first = await signed(chair, stricter(0.8))
    chair.clock.advance(60)
    second = await signed(chair, stricter(0.6))
    gone = {"$unset": {"effective_at": "", "effective_until": ""}}
    for row in (first, second):
        await chair.mongo.plumbing("protocols").update({"_id": row["_id"]}, gone)
    stored = await chair.mongo.plumbing("protocols").find({"_id": second["_id"]})
    shown = show_row(stored[0])
    assert (shown.effective_at, shown.effective_until) == (second["signed_at"], None)
    assert await ceiling(chair) == 0.6
    await signs(chair, await drafted(chair, stricter(0.5), effective_at=chair.clock.clinical_now() + timedelta(days=1)))
    assert await ceiling(chair) == 0.6


async def test_a_session_takes_the_version_in_effect_when_its_patient_arrives(chair: Chair) -> None:
    made = await chair.mongo.run(
        NURSE, lambda unit: sessions.open_unscheduled(unit, chair.deps, schemas.NewSession(patient_id=chair.patient_id))
    )
    own = await signed(chair, stricter(0.8))
    row = await chair.mongo.run(NURSE, lambda unit: sessions.check_in(unit, chair.deps, made["_id"], arrival()))
    assert row["protocol_version"] == own["version_id"]


async def test_own_rules_alarm_in_the_sessions_that_began_with_them(chair: Chair) -> None:
    rules = [{**rule, "above": 150} if rule["name"] == "sbp_critical_high" else rule for rule in ADULT]
    content = stricter(1.0, rules=rules)
    content["sources"]["rules"] = "CFG, the clinic"
    await signed(chair, content)
    await chair.lasts(155, 7)
    assert await chair.alarms(rule="sbp_critical_high") == []
    chair.patient_id = new_id()
    await chair.seat()
    await chair.lasts(155, 7)
    assert len(await chair.alarms(rule="sbp_critical_high")) == 1


async def test_another_clinic_goes_on_with_what_the_product_brings(chair: Chair) -> None:
    await signed(chair, stricter(0.8), ELSEWHERE)
    await chair.seat(dose=False)
    assert (await session_of(chair))["protocol_version"] == "iv-2026-11"


async def test_of_two_signatures_at_once_one_takes_effect(chair: Chair) -> None:
    rows = [await drafted(chair, stricter(ceiling)) for ceiling in (0.8, 0.7)]
    ended = await asyncio.gather(*(signs(chair, row) for row in rows), return_exceptions=True)
    assert sorted(isinstance(end, Conflict | VersionConflict) for end in ended) == [False, True]
    assert len(await chair.mongo.plumbing("protocols").find({"state": "signed"})) == 1


async def test_the_signature_keeps_hash_signer_and_time_and_leaves_a_row(chair: Chair) -> None:
    row = await signed(chair, stricter(0.8))
    assert (row["signed_by"], row["signed_at"]) == ("director-1", chair.clock.clinical_now())
    audited = await chair.mongo.plumbing("audit").find({"subject": f"protocol/{row['_id']}"})
    assert {item["action"] for item in audited} == {"protocol.draft", f"protocol.sign.{row['digest']}"}
