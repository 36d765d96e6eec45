"""Each record of a patient: made, told as a whole, guarded by role, clinic and version, ended by its time."""

from typing import Any

import pytest

from shared.events import intake
from shared.ids import new_id
from tests.integration.intake.world import World
from tests.support.eventually import eventually

CONSENT = {"document": "ketamine_treatment", "document_version": "3", "text_sha256": "ab" * 32}
APPROVAL = {"decision": "approved", "route": "iv", "indication": "icd10:F33.2", "valid_until": "2099-01-01T00:00:00Z"}
SUMMARY = {"allergies": ["rxnorm:6130"], "medications": ["rxnorm:6470"], "problems": ["snomed:38341003"]}
FINDING = {"instrument": "phq9", "item": 9, "level": "moderate"}
ENROLLED = {"status": "enrolled", "valid_until": "2099-01-01T00:00:00.000Z"}
PLAN = {"route": "iv", "dose_mg_per_kg": 0.5, "session_count": 6}
READS = ("consents", "eligibility", "clinical-summary", "rems-enrolment", "risk", "plans")
WRITES = [
    ("nurse", "POST", "consents", CONSENT),
    ("prescriber", "POST", "eligibility", APPROVAL),
    ("nurse", "PUT", "clinical-summary", SUMMARY),
    ("nurse", "PUT", "rems-enrolment", ENROLLED),
    ("nurse", "POST", "risk/flag", FINDING),
    ("clinician", "POST", "risk/clear", {"instrument": "cssrs", "level": "low"}),
    ("nurse", "POST", "plans", PLAN),
    ("front_desk", "PUT", "contact", {"name": "G", "email": "g@example.org"}),
]
REFUSED = [
    ("patient", "POST", "eligibility", APPROVAL),
    ("nurse", "POST", "eligibility", APPROVAL),
    ("front_desk", "PUT", "clinical-summary", SUMMARY),
    ("patient", "PUT", "clinical-summary", SUMMARY),
    ("front_desk", "PUT", "rems-enrolment", ENROLLED),
    ("patient", "POST", "risk/flag", FINDING),
    ("nurse", "POST", "risk/clear", {"instrument": "cssrs", "level": "low"}),
    ("front_desk", "POST", "plans", PLAN),
    ("front_desk", "GET", "clinical-summary", None),
    ("front_desk", "GET", "eligibility", None),
    ("patient", "GET", "risk", None),
    ("patient", "GET", "rems-enrolment", None),
    ("operator", "GET", "consents", None),
    ("operator", "GET", "plans", None),
    ("device", "GET", "clinical-summary", None),
]


@pytest.mark.parametrize(("role", "method", "path", "body"), REFUSED, ids=lambda item: str(item)[:24])
async def test_a_role_that_the_route_does_not_name_is_refused(
    world: World, role: str, method: str, path: str, body: Any
) -> None:
    answer = await world.ask(role, method, f"{{p}}/{path}", body, version=0)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:stillwater:problem:forbidden")


@pytest.mark.parametrize(("role", "method", "path", "body"), WRITES, ids=lambda item: str(item)[:24])
async def test_another_clinics_patient_and_one_that_is_not_there_are_hidden(
    world: World, role: str, method: str, path: str, body: Any
) -> None:
    version = 1 if path == "contact" else 0
    elsewhere = await world.ask(role, method, f"{{p}}/{path}", body, version=version, clinic=new_id())
    nobody = await world.ask(role, method, f"/v1/patients/{new_id()}/{path}", body, version=version)
    assert (elsewhere.status_code, nobody.status_code) == (404, 404)


@pytest.mark.parametrize("path", READS)
async def test_a_record_is_read_in_its_clinic_and_by_nobody_elses_patient(world: World, path: str) -> None:
    assert (await world.ask("clinician", "GET", f"{{p}}/{path}")).status_code == 200
    assert (await world.ask("clinician", "GET", f"{{p}}/{path}", clinic=new_id())).status_code == 404
    other = f"/v1/patients/{new_id()}/{path}"
    staff_only = path in ("risk", "rems-enrolment")
    assert (await world.ask("patient", "GET", other)).status_code == (403 if staff_only else 404)
    unknown = await world.ask("clinician", "GET", f"{{p}}/{path}?colour=red")
    assert unknown.status_code == (400 if path in ("consents", "eligibility", "plans") else 200)


@pytest.mark.parametrize("path", ["consents", "eligibility", "clinical-summary", "plans"])
async def test_a_patient_sees_its_own(world: World, path: str) -> None:
    assert (await world.ask("patient", "GET", f"{{p}}/{path}")).status_code == 200


async def test_a_patient_acts_for_nobody_else(world: World) -> None:
    made = await world.call("nurse", "POST", "{p}/consents", CONSENT)
    theirs, _ = world.path, await world.register()
    asked = [
        ("POST", "/consents", CONSENT, None),
        ("POST", f"/consents/{made['id']}/revoke", {"reason_code": "x"}, None),
        ("PUT", "/contact", {"name": "G", "email": "g@example.org"}, 1),
    ]
    for method, path, body, version in asked:
        assert (await world.ask("patient", method, theirs + path, body, version=version)).status_code == 404
    listed = (await world.call("nurse", "GET", f"{theirs}/consents"))["items"]
    assert [row["state"] for row in listed] == ["signed"]


# Consents


async def test_a_signed_consent_is_told_and_listed_and_a_patient_may_revoke_it(world: World) -> None:
    made = await world.call("patient", "POST", "{p}/consents", CONSENT)
    envelope, event = await world.event(intake.ConsentSigned)
    assert (envelope.subject, event.consent_id) == (f"consent/{made['id']}", made["id"])
    assert (event.patient_id, event.document, event.version) == (world.patient, "ketamine_treatment", "3")
    assert event.signed_at < event.valid_until
    listed = (await world.call("nurse", "GET", "{p}/consents?state=signed&document=ketamine_treatment"))["items"]
    assert listed == [made]
    path = f"{{p}}/consents/{made['id']}"
    revoked = await world.call("patient", "POST", f"{path}/revoke", {"reason_code": "changed_my_mind"})
    again = await world.call("patient", "POST", f"{path}/revoke", {"reason_code": "again"})
    assert (revoked["state"], revoked["reason_code"], again) == ("revoked", "changed_my_mind", revoked)
    assert await world.call("nurse", "GET", path) == revoked
    _, told = await world.event(intake.ConsentRevoked)
    assert told.model_dump() == event.model_dump() | {"state": "revoked", "reason_code": "changed_my_mind"}
    assert len(await world.told(intake.ConsentRevoked)) == 1


async def test_a_withdrawal_takes_every_signature_of_the_document_and_no_other(world: World) -> None:
    first = await world.call("nurse", "POST", "{p}/consents", CONSENT)
    await world.call("nurse", "POST", "{p}/consents", CONSENT)
    other = await world.call("nurse", "POST", "{p}/consents", {**CONSENT, "document": "telehealth"})
    await world.call("nurse", "POST", f"{{p}}/consents/{first['id']}/revoke", {"reason_code": "asked"})
    standing = (await world.call("nurse", "GET", "{p}/consents?state=signed"))["items"]
    assert [row["id"] for row in standing] == [other["id"]]
    await world.event(intake.ConsentRevoked, 2)


async def test_a_consent_expires_at_its_time_and_a_revoked_one_does_not(world: World) -> None:
    short = {**CONSENT, "valid_until": world.soon()}
    revoked = await world.call("nurse", "POST", "{p}/consents", {**short, "document": "telehealth"})
    await world.call("nurse", "POST", f"{{p}}/consents/{revoked['id']}/revoke", {"reason_code": "asked"})
    made = await world.call("nurse", "POST", "{p}/consents", short)
    _, event = await world.event(intake.ConsentExpired)
    assert (event.consent_id, event.state, event.version) == (made["id"], "expired", "3")
    refused = await world.ask("nurse", "POST", f"{{p}}/consents/{made['id']}/revoke", {"reason_code": "late"})
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "consent_expired")
    assert len(await world.told(intake.ConsentExpired)) == 1


async def test_another_patients_consent_is_hidden(world: World) -> None:
    made = await world.call("nurse", "POST", "{p}/consents", CONSENT)
    await world.register()
    assert (await world.ask("nurse", "GET", f"{{p}}/consents/{made['id']}")).status_code == 404
    path = f"{{p}}/consents/{made['id']}/revoke"
    assert (await world.ask("nurse", "POST", path, {"reason_code": "x"})).status_code == 404


# Eligibility


async def test_the_newest_decision_stands_and_the_sequence_says_which_it_is(world: World) -> None:
    first = await world.call("prescriber", "POST", "{p}/eligibility", APPROVAL)
    declined = {"decision": "declined", "indication": "icd10:F33.2", "reason_codes": ["uncontrolled_hypertension"]}
    second = await world.call("medical_director", "POST", "{p}/eligibility", declined)
    assert (first["decided_by"], second["decided_by"]) == ("prescriber-1", "medical_director-1")
    listed = (await world.call("nurse", "GET", "{p}/eligibility"))["items"]
    assert [(row["id"], row["standing"]) for row in listed] == [(second["id"], True), (first["id"], False)]
    (one, approved), (two, refused) = [await world.event(intake.EligibilityDetermined, no) for no in (1, 2)]
    assert one.source == two.source
    assert one.sequence < two.sequence
    assert (approved.decision, approved.route, approved.expired) == ("approved", "iv", False)
    assert (refused.decision, refused.route, refused.reason_codes) == ("declined", None, ["uncontrolled_hypertension"])


async def test_only_the_standing_decision_expires(world: World) -> None:
    await world.call("prescriber", "POST", "{p}/eligibility", {**APPROVAL, "valid_until": world.soon()})
    last = await world.call("prescriber", "POST", "{p}/eligibility", {**APPROVAL, "valid_until": world.soon()})
    envelope, event = await world.event(intake.EligibilityExpired)
    assert (event.eligibility_id, event.decision, event.expired) == (last["id"], "approved", True)
    assert envelope.sequence.startswith("0000000003.")
    listed = (await world.call("nurse", "GET", "{p}/eligibility"))["items"]
    assert [row["expired"] for row in listed] == [True, False]
    await world.call("prescriber", "POST", "{p}/eligibility", APPROVAL)
    envelope, _ = await world.event(intake.EligibilityDetermined, 3)
    assert envelope.sequence.startswith("0000000004.")
    assert len(await world.told(intake.EligibilityExpired)) == 1


# Clinical summary and REMS enrolment


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("clinical-summary", SUMMARY, intake.ClinicalSummaryChanged),
        ("rems-enrolment", ENROLLED, intake.RemsEnrolmentChanged),
    ],
)
async def test_a_record_is_changed_by_who_has_read_it_and_told_as_a_whole(
    world: World, path: str, body: dict[str, Any], kind: Any
) -> None:
    empty = await world.call("nurse", "GET", f"{{p}}/{path}")
    assert empty["version"] == 0
    assert (await world.ask("nurse", "PUT", f"{{p}}/{path}", body)).status_code == 428
    assert (await world.ask("nurse", "PUT", f"{{p}}/{path}", body, version=1)).status_code == 412
    made = await world.call("nurse", "PUT", f"{{p}}/{path}", body, version=0)
    assert made == {**made, **body, "version": 1, "patient_id": world.patient}
    assert (await world.ask("nurse", "PUT", f"{{p}}/{path}", body, version=0)).status_code == 412
    await world.call("nurse", "PUT", f"{{p}}/{path}", body, version=1)
    assert (await world.call("nurse", "GET", f"{{p}}/{path}"))["version"] == 2
    (one, event), (two, _) = [await world.event(kind, number) for number in (1, 2)]
    told = event.model_dump(mode="json")
    assert {name: told[name] for name in body if name != "valid_until"} == {
        name: item for name, item in body.items() if name != "valid_until"
    }
    assert (event.patient_id, one.partition_key) == (world.patient, world.patient)
    assert (one.sequence, two.sequence) == ("0000000001.0001", "0000000002.0001")


async def test_a_summary_of_tomorrow_is_refused(world: World) -> None:
    body = {**SUMMARY, "reconciled_at": world.soon(3600)}
    refused = await world.ask("nurse", "PUT", "{p}/clinical-summary", body, version=0)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/reconciled_at")


# Suicide risk


async def test_a_high_risk_pages_at_once_and_the_page_names_nobody(world: World) -> None:
    flagged = await world.call("front_desk", "POST", "{p}/risk/flag", {**FINDING, "level": "high"})
    assert (flagged["flagged"], flagged["level"], flagged["version"]) == (True, "high", 1)
    envelope, event = await world.event(intake.SuicideRiskFlagged)
    assert (envelope.subject, event.level, event.item) == (f"risk/{world.patient}", "high", 9)
    assert event.assessment_due_at > event.at

    async def page() -> Any:
        rows = (await world.http.get(f"{world.stack.issuer}/messages?kind=pager")).json()
        return [row for row in rows if "suicide risk" in str(row) and rfc(event) in str(row)]

    (arrived,) = await eventually(page, 20)
    assert arrived["body"]["text"] == "HIGH suicide risk: work list: see this patient now"
    assert world.patient not in str(arrived)
    answer = await world.http.get(
        f"{world.stack.url('notifications')}/v1/tasks?kind=suicide_risk", headers=world.headers("nurse")
    )
    assert [row["subject"] for row in answer.json()["items"]] == [f"patient/{world.patient}"]


def rfc(event: intake.SuicideRiskFlagged) -> str:
    return event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_a_weaker_finding_lowers_nothing_and_clearing_needs_the_version_that_stands(world: World) -> None:
    clear = {"instrument": "cssrs", "level": "low"}
    nothing = await world.ask("clinician", "POST", "{p}/risk/clear", clear, version=0)
    assert (nothing.status_code, nothing.json()["reasons"][0]["code"]) == (409, "risk_not_flagged")
    standing = await world.call("nurse", "POST", "{p}/risk/flag", FINDING)
    assert await world.call("nurse", "POST", "{p}/risk/flag", {**FINDING, "level": "low"}) == standing
    assert (await world.ask("clinician", "POST", "{p}/risk/clear", clear)).status_code == 428
    assert (await world.ask("clinician", "POST", "{p}/risk/clear", clear, version=0)).status_code == 412
    cleared = await world.call("clinician", "POST", "{p}/risk/clear", clear, version=1)
    assert (cleared["flagged"], cleared["level"], cleared["version"]) == (False, "low", 2)
    assert await world.call("nurse", "GET", "{p}/risk") == cleared
    one, _ = await world.event(intake.SuicideRiskFlagged)
    two, event = await world.event(intake.SuicideRiskCleared)
    assert (event.flagged, event.level, event.instrument) == (False, "low", "cssrs")
    assert (one.source, one.sequence < two.sequence) == (two.source, True)
    assert len(await world.told(intake.SuicideRiskFlagged)) == 1
