"""Who reads what, and that nobody in between keeps it."""

from tests.integration.walk.walk import Walk
from tests.support.operations import OPERATIONS

NEVER_ENDS = "stream_board"
ASKED = {"get_availability": "?from=2031-03-03T15:00:00Z&to=2031-03-04T15:00:00Z&minutes=60&kinds=room"}
READS = {
    name: one for name, one in OPERATIONS.items() if one.method == "get" and one.needs_token and name != NEVER_ENDS
}
PATIENTS = {name for name, one in OPERATIONS.items() if "patient" in one.said.get("x-roles", ())}


def test_no_answer_may_be_kept_by_a_cache(walk: Walk) -> None:
    for name in READS:
        assert walk.ask(name, query=ASKED.get(name, "")).status_code == 200, name
    assert walk.cacheable == set()


def test_a_patient_reads_its_own_records(walk: Walk) -> None:
    answers = {name: walk.ask(name, "patient", walk.ids["patient_id"]) for name in READS}
    told = {name: answer.status_code for name, answer in answers.items()}
    assert told == {name: 200 if name in PATIENTS else 403 for name in READS}
    assert [row["id"] for row in answers["list_plans"].json()["items"]] == [walk.ids["plan_id"]]


def test_another_patient_of_the_clinic_reads_and_changes_none_of_them(walk: Walk) -> None:
    stranger = walk.made("register_patient")
    theirs = [walk.ids[f"{name}_id"] for name in ("patient", "plan", "consent", "appointment")]
    for name in sorted(PATIENTS):
        answer = walk.ask(name, "patient", stranger)
        assert answer.status_code == (404 if "{" in OPERATIONS[name].path else 200), (name, answer.text)
        assert not [one for one in theirs if one in answer.text], name
    assert walk.ask("list_appointments", "patient", stranger, f"?patient_id={theirs[0]}").json()["items"] == []
