"""A clinic's own protocol: what is valid, what no signature admits, and what differs."""

import copy
import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from services.monitoring.differing import as_text, differences
from services.monitoring.limits import LimitSet
from services.monitoring.protocol import DosingProtocol, digest
from services.monitoring.usecases.protocols import _checked, filled, subject_of
from services.monitoring.wiring import PROTOCOLS, make_deps
from shared.errors import FieldError, Invalid
from shared.persistence.vault import KeyRing
from shared.protocols import Fault, ProtocolError, leaves, parse, source_of

DEPS = make_deps(KeyRing("k1:" + b64encode(b"k" * 32).decode()))
FILES = sorted(PROTOCOLS.rglob("*.yaml"))
TEXT = (PROTOCOLS / "iv.yaml").read_text()
IV: dict[str, Any] = yaml.safe_load(TEXT)
ESKETAMINE: dict[str, Any] = yaml.safe_load((PROTOCOLS / "esketamine.yaml").read_text())
ADULT: dict[str, Any] = yaml.safe_load((PROTOCOLS / "limits" / "adult.yaml").read_text())
EVERY = "/content/schedule/0/every_minutes"
PART = "combinations.0.parts.0.sign"
SECTIONS = {
    "clinical.md": {
        *("1", "1.1", "1.2", "1.3", "1.4", "2", "3", "3.1", "3.2", "3.3", "3.4", "4", "4.1", "4.2"),
        *("5", "6", "7", "8", "9", "10"),
    },
    "pitfalls.md": {"2.1", "2.2", "2.3", "2.4", "2.5"},
}


def with_(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    content = copy.deepcopy(IV)
    change(content)
    return content


def of_esketamine(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    content = copy.deepcopy(ESKETAMINE)
    change(content)
    return content


def with_rules(change: Callable[[list[dict[str, Any]]], Any]) -> dict[str, Any]:
    rules = copy.deepcopy(ADULT["rules"])
    change(rules)
    return {**IV, "rules": rules, "sources": {**IV["sources"], "rules": "CFG, the clinic"}}


def faults(content: Any = None, text: str | None = None) -> list[FieldError]:
    with pytest.raises(Invalid) as refused:
        _checked(DEPS, content, text)
    return list(refused.value.errors)


def line_of(words: str, text: str = TEXT) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_value_has_a_source_in_a_section_that_there_is(path: Any) -> None:
    content = yaml.safe_load(path.read_text())
    sources = content["sources"]
    for name, _, _ in leaves(content):
        if name.split(".")[0] not in DosingProtocol.identity:
            assert source_of(sources, name), f"{path.name}: {name} has no source"
    for name, text in sources.items():
        cited = re.findall(r"(clinical\.md|pitfalls\.md) (\d+(?:\.\d+)?)", text)
        assert cited, f"{path.name}: {name} cites no section"
        assert all(section in SECTIONS[document] for document, section in cited), f"{path.name}: {name}: {text}"


@pytest.mark.parametrize(
    "kind", ["iv", "im", "sublingual", "esketamine_nasal", "preparation", "integration", "group", "wellness"]
)
def test_there_is_a_protocol_for(kind: str) -> None:
    found = DEPS.protocol_of(kind)
    assert found is not None
    assert isinstance(found, DosingProtocol) == (found.route is not None)


@pytest.mark.parametrize(
    ("kind", "route", "subject"),
    [
        ("dosing", "im", "im"),
        ("group", "im", "im"),
        ("group", None, "group"),
        ("preparation", "iv", "preparation"),
        ("integration", "iv", "integration"),
        ("wellness", "iv", "wellness"),
    ],
)
def test_a_plans_route_says_what_a_session_is_only_where_a_dose_may_be_given(
    kind: str, route: str | None, subject: str
) -> None:
    assert subject_of(kind, route) == subject


def test_what_the_product_brings_is_within_the_hard_bounds() -> None:
    for path in PROTOCOLS.glob("*.yaml"):
        _checked(DEPS, None, path.read_text())
    _checked(DEPS, with_rules(list), None)


def _without_hours(content: dict[str, Any]) -> None:
    del content["gate"]["fasting_hours"], content["sources"]["gate.fasting_hours"]


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        (lambda c: c.update(ceiling_mg_per_kg=1.01), "/content/ceiling_mg_per_kg", "at most 1 mg/kg"),
        (lambda c: c.update(medicines="nowhere"), "/content/medicines", "that is there"),
        (lambda c: c["gate"].update(max_systolic=181), "/content/gate/max_systolic", "at most 180"),
        (lambda c: c["gate"].update(max_diastolic=101), "/content/gate/max_diastolic", "at most 100"),
        (lambda c: c["gate"].update(absolute_systolic=181), "/content/gate/absolute_systolic", "at most 180"),
        (lambda c: c["gate"].update(absolute_diastolic=101), "/content/gate/absolute_diastolic", "at most 100"),
        (lambda c: c["gate"].update(override_margin=21), "/content/gate/override_margin", "at most 20 mm"),
        (
            lambda c: c["gate"].update(max_weight_change_percent=21),
            "/content/gate/max_weight_change_percent",
            "at most 20",
        ),
        (lambda c: c["gate"].update(min_gap_hours=23), "/content/gate/min_gap_hours", "at least 24 h"),
        (
            lambda c: c["discharge"].update(min_minutes_after_dose=59),
            "/content/discharge/min_minutes_after_dose",
            "at least 60 minutes",
        ),
        (lambda c: c["discharge"].update(min_aldrete=7), "/content/discharge/min_aldrete", "at least 8"),
        (lambda c: c["gate"].update(consents=[]), "/content/gate/consents", "at least 1"),
        (lambda c: c["gate"].update(readiness=["fasting"]), "/content/gate/readiness", "escort_named"),
        (_without_hours, "/content/gate/fasting_hours", "must be given"),
        (
            lambda c: c["gate"]["fasting_hours"].update(light_meal=3.9),
            "/content/gate/fasting_hours/light_meal",
            "at least 4 h",
        ),
        (lambda c: c["gate"].update(valid_minutes=16), "/content/gate/valid_minutes", "at most 15 minutes"),
        (
            lambda c: c["gate"].update(max_projection_age_s=301),
            "/content/gate/max_projection_age_s",
            "at most 300 s",
        ),
        (lambda c: c["discharge"].update(min_padss=8), "/content/discharge/min_padss", "at least 9"),
        (lambda c: c["discharge"].update(min_moaas=4), "/content/discharge/min_moaas", "at least 5"),
        (lambda c: c["discharge"].update(max_cadss=5), "/content/discharge/max_cadss", "at most 4"),
        (
            lambda c: c["discharge"].update(max_systolic_change_percent=41),
            "/content/discharge/max_systolic_change_percent",
            "at most 40",
        ),
        (
            lambda c: c["discharge"].update(findings_valid_minutes=61),
            "/content/discharge/findings_valid_minutes",
            "at most 60",
        ),
        (
            lambda c: c["discharge"].update(aftercare=["written_instructions"]),
            "/content/discharge/aftercare",
            "no_driving",
        ),
        (lambda c: c.update(dosing_minutes=121), "/content/dosing_minutes", "at most 120 minutes"),
        (lambda c: c["signals"].update(factor=31), "/content/signals", "at most 30 s"),
        (lambda c: c.update(limits="nowhere"), "/content/limits", "that is there"),
    ],
)
def test_no_version_goes_beyond_the_hard_bound(change: Callable[[Any], Any], pointer: str, words: str) -> None:
    found = faults(with_(change))
    assert [item.pointer for item in found] == [pointer]
    assert words in found[0].detail


def test_esketamine_is_watched_two_hours_whatever_is_signed_clinical_md_6() -> None:
    text = (PROTOCOLS / "esketamine.yaml").read_text()
    found = faults(text=text.replace("min_minutes_after_dose: 120", "min_minutes_after_dose: 119"))
    line = line_of("min_minutes_after_dose:", text)
    assert (
        found[0].detail == f"line {line}: discharge.min_minutes_after_dose: must be at least 120 minutes for this route"
    )


def test_the_rems_gate_of_esketamine_is_not_signed_away_clinical_md_6() -> None:
    found = faults(of_esketamine(lambda c: c["gate"].update(rems=False)))
    assert [(item.pointer, item.detail) for item in found] == [("/content/gate/rems", "must be true for this route")]


def _without_devices(content: dict[str, Any]) -> None:
    del content["devices"], content["sources"]["devices"]


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        (lambda c: c["devices"].update(most=4), "/content/devices/most", "at most 3"),
        (lambda c: c["devices"].update(gap_minutes=4.9), "/content/devices/gap_minutes", "at least 5 minutes"),
        (lambda c: c["devices"].update(mg=56), "/content/devices/mg", "must be 28 mg"),
        (lambda c: c["devices"].update(mg=27.9), "/content/devices/mg", "must be 28 mg"),
        (_without_devices, "/content/devices", "must be given"),
    ],
)
def test_esketamine_is_given_in_devices_of_28_mg_three_at_most_five_minutes_apart_whatever_is_signed_clinical_md_5(
    change: Callable[[Any], Any], pointer: str, words: str
) -> None:
    found = faults(of_esketamine(change))
    assert [item.pointer for item in found] == [pointer]
    assert words in found[0].detail


@pytest.mark.parametrize("line", ["ceiling_mg: 85", ""])
def test_esketamine_has_its_ceiling_in_milligrams_clinical_md_5(line: str) -> None:
    text = (PROTOCOLS / "esketamine.yaml").read_text().replace("ceiling_mg: 84", line)
    if not line:
        text = text.replace('  ceiling_mg: "CFG, clinical.md 5: hard ceiling"\n', "")
    assert "ceiling_mg: must be at most 84 mg for this route" in faults(text=text)[0].detail


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rules: rules[0].update(delay_s=16), "at most 15 s"),
        (lambda rules: rules[1].update(delay_s=61), "at most 60 s"),
        (lambda rules: rules[1].update(name=rules[0]["name"]), "name of another rule"),
        (lambda rules: rules.remove(next(r for r in rules if r["name"] == "spo2_critical_low")), "59408-5"),
        (lambda rules: next(r for r in rules if r["name"] == "rr_critical_low").update(pages=False), "9279-1"),
        (lambda rules: next(r for r in rules if r["name"] == "hr_critical_low").update(phases=["dosing"]), "8867-4"),
    ],
)
def test_own_rules_keep_the_alarms_that_save_a_life(change: Callable[[Any], Any], words: str) -> None:
    found = faults(with_rules(change))
    assert len(found) == 1
    assert words in found[0].detail


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        (lambda c: c["gate"].update(max_systolic=True), "/content/gate/max_systolic", "float_type"),
        (lambda c: c["gate"].pop("max_systolic"), "/content/gate/max_systolic", "missing"),
        (lambda c: c["gate"]["fasting_hours"].update(light_meal=9), "/content/gate/fasting_hours", "value_error"),
        (lambda c: c["gate"]["fasting_hours"].update(soup=1), "/content/gate/fasting_hours", "extra_forbidden"),
        (lambda c: c["gate"].update(max_systolic=10**12), "/content/gate/max_systolic", "number"),
        (lambda c: c.update(route="nasal"), "/content/route", "literal_error"),
        (lambda c: c["sources"].pop("signals"), "/content/signals/factor", "source"),
        (lambda c: c["sources"].update({"gate.max_systolc": "CFG"}), "/content/sources", "source"),
        (lambda c: c["sources"].update(x="a\x07b"), "/content/sources", "text"),
        (lambda c: c["schedule"][0].update(signs=["8480-7"]), "/content/schedule/0/signs/0", "unknown"),
        (lambda c: c["schedule"][0].update(signs=["moaas"]), "/content/schedule/0/signs/0", "unknown"),
        (lambda c: c["schedule"][2].update(scales=["cadss_6"]), "/content/schedule/2/scales/0", "unknown"),
        (lambda c: c["schedule"][0].update(name="a.b"), "/content/schedule/0/name", "string_pattern_mismatch"),
        (lambda c: c["schedule"].append(c["schedule"][0]), "/content/schedule/3/name", "at_odds"),
        (lambda c: c["schedule"][0].update(every_minutes=0.001), EVERY, "greater_than_equal"),
        (lambda c: c["schedule"][0].update(at_minutes=[-1]), "/content/schedule/0/at_minutes/0", "greater_than_equal"),
        (
            lambda c: c["schedule"][0].update(grace_minutes=0.1),
            "/content/schedule/0/grace_minutes",
            "greater_than_equal",
        ),
        (lambda c: c["signals"].update(factor=0.5), "/content/signals/factor", "greater_than_equal"),
        (lambda c: c["signals"].update(least_s=0), "/content/signals/least_s", "greater_than_equal"),
        (lambda c: c.update(version="Mine +1"), "/content/version", "string_pattern_mismatch"),
    ],
)
def test_a_fault_is_named_by_its_pointer(change: Callable[[Any], Any], pointer: str, code: str) -> None:
    found = faults(with_(change))
    assert (found[0].pointer, found[0].code) == (pointer, code)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"sign": "8480-7"}, "/content/rules/0/sign", "hard_bound"),
        ({"sign": "spo2_and_nothing"}, "/content/rules/0/sign", "hard_bound"),
        ({"name": "sbp.critical"}, "/content/rules/0/name", "string_pattern_mismatch"),
        ({"delay_s": -1}, "/content/rules/0/delay_s", "greater_than_equal"),
        ({"hysteresis": -1}, "/content/rules/0/hysteresis", "greater_than_equal"),
        ({"normal_s": -1}, "/content/rules/0/normal_s", "greater_than_equal"),
        ({"jump": 0}, "/content/rules/0/jump", "greater_than"),
    ],
)
def test_a_rule_that_would_not_work_is_named_by_its_pointer(change: dict[str, Any], pointer: str, code: str) -> None:
    found = faults(with_rules(lambda rules: rules[0].update(change)))
    assert [(item.pointer, item.code) for item in found] == [(pointer, code)]


def test_an_unknown_sign_is_told_with_its_line_and_never_repeated() -> None:
    text = TEXT.replace('signs: ["8480-6", "8462-4"], phase: dosing', 'signs: ["8480-7"], phase: dosing')
    line = line_of("8480-7", text)
    assert [item.detail for item in faults(text=text)] == [f"line {line}: schedule.0.signs.0: is not a known sign"]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("sign: moaas, below: 4, priority: low", "sign: moas, below: 4, priority: low", "rules.22.sign"),
        ('parts: [{sign: "59408-5", below: 93.9}, {sign: "9279-1"', 'parts: [{sign: spo2}, {sign: "9279-1"', PART),
    ],
)
def test_a_shipped_limit_of_what_nobody_measures_is_a_fault_with_its_line(old: str, new: str, field: str) -> None:
    text = (PROTOCOLS / "limits" / "adult.yaml").read_text()
    assert old in text
    text = text.replace(old, new)
    with pytest.raises(ProtocolError) as refused:
        parse(text, "adult.yaml", LimitSet)
    assert str(refused.value) == f"adult.yaml:{line_of(new, text)}: {field}: is not a known sign"


def test_a_misspelt_name_is_told_with_its_line_and_the_nearest_but_never_repeated() -> None:
    text = TEXT.replace("  max_systolic: 140", "  max_systolix: 140")
    found = next(item for item in faults(text=text) if item.code == "extra_forbidden")
    line = line_of("max_systolix", text)
    assert found.detail == f"line {line}: gate: has a field that is not known; the nearest known name is max_systolic"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1\n", 3),
        ("version: x\nversion: y\n", 2),
        ("a: &x [1]\nb: *x\n", 1),
        ("[" * 5000, 1),
        ("a: .nan\n", 1),
        ("a: !!python/object:os.system x\n", 1),
        ("? [1]\n: 2\n", 1),
        ('a: "\\ud800"\n', 1),
        ("- 1\n", 1),
        ("# nothing\n", 1),
    ],
)
def test_what_is_no_protocol_at_all_is_refused_with_its_line(text: str, line: int) -> None:
    found = faults(text=text)
    assert found[0].pointer == "/yaml"
    assert found[0].detail.startswith(f"line {line}"), found[0].detail


def test_an_alias_is_refused_before_it_can_grow() -> None:
    assert [item.code for item in faults(text="a: &x [1]\nb: &y [*x, *x]\nc: [*y, *y]\n")] == ["alias"] * 4


@pytest.mark.parametrize("given", [(None, None), (IV, TEXT)])
def test_content_comes_in_exactly_one_form(given: tuple[Any, Any]) -> None:
    assert faults(*given)[0].code == "one_of"


def test_the_same_content_is_the_same_text_in_either_form() -> None:
    assert _checked(DEPS, IV, None)[0] == _checked(DEPS, None, TEXT)[0]


def test_differences_are_named_value_by_value_with_the_newer_source() -> None:
    new = with_(lambda c: (c["gate"].update(max_systolic=150), c["schedule"].pop()))
    del new["sources"]["schedule.sedation_recovery"]
    found = {item.path: item for item in differences(IV, new)}
    changed = found["gate.max_systolic"]
    assert (changed.old, changed.new, changed.source) == (140, 150, IV["sources"]["gate.max_systolic"])
    gone = found["schedule.sedation_recovery.every_minutes"]
    assert (gone.old, gone.new, gone.source) == (30, None, IV["sources"]["schedule.sedation_recovery"])
    assert all(path.startswith(("gate.max_systolic", "schedule.sed", "sources.schedule.sed")) for path in found)


def test_a_limit_that_changed_is_the_difference_whether_or_not_the_other_version_says_its_rules() -> None:
    new = with_rules(lambda rules: rules.insert(3, rules.pop(0) | {"above": 190}))
    found = differences(filled(DEPS, IV), filled(DEPS, new))
    limit = ("rules.sbp_critical_high.above", 180, 190, "CFG, the clinic")
    assert [(item.path, item.old, item.new, item.source) for item in found] == [
        limit,
        ("sources.rules", None, "CFG, the clinic", None),
    ]
    back = differences(filled(DEPS, new), filled(DEPS, {**new, "rules": None}))
    assert [(item.path, item.old, item.new) for item in back] == [(limit[0], 190, 180)]


def test_a_source_that_alone_changed_is_a_difference() -> None:
    new = with_(lambda c: c["sources"].update(signals="CFG, the clinic"))
    assert [item.path for item in differences(IV, new)] == ["sources.signals"]


def test_differences_can_be_read() -> None:
    new = with_(lambda c: c.update(ceiling_mg_per_kg=0.5))
    said = as_text("iv-2026-11", "own+1", differences(IV, new))
    assert said == "iv-2026-11 -> own+1\nceiling_mg_per_kg: 1.0 -> 0.5  [CFG, clinical.md 5]\n"


def test_a_fault_reads_as_line_field_words() -> None:
    assert str(Fault(3, ("gate", "x"), "is not known", "c", "y")) == (
        "3: gate.x: is not known; the nearest known name is y"
    )


@pytest.mark.parametrize("before", [{"scales": {"sedation": "moaas"}}, {"dosing_minutes": "45"}])
def test_a_version_that_was_signed_by_the_rules_of_before_stays_readable(before: dict[str, Any]) -> None:
    """Its sessions go on: without its limits they would be watched by nothing."""
    text = json.dumps(IV | before)
    session = {"protocol_version": f"iv-2026-11+{digest(text)}", "protocol_content": text}
    assert DEPS.protocol(session) == DosingProtocol.model_validate(IV)
