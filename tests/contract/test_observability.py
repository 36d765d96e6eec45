"""Dashboard and rules: every metric and label that they name is declared, and something sets it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from shared.messaging.topics import SERVICES
from shared.messaging.trouble import OLD_SECONDS
from shared.telemetry import metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "observability" / "dashboard.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "observability" / "alerts.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "prometheus" / "prometheus.yml").read_text())
TARGET_LABELS = {"job", "instance", "service"}


def declared() -> dict[str, MetricWrapperBase]:
    return {name: item for name, item in vars(metrics).items() if isinstance(item, MetricWrapperBase)}


def exported() -> dict[str, set[str]]:
    """Series name -> its labels, as `/metrics` shows them."""
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    found = {"up": TARGET_LABELS}
    for metric in declared().values():
        for family in metric.describe():
            for ending in endings[family.type]:
                labels = {*metric._labelnames, *TARGET_LABELS} | ({"le"} if ending == "_bucket" else set())
                found[family.name + ending] = labels
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("expr", "lhs", "rhs", "param", "vector_selector"):
        below = getattr(node, part, None)
        if below is not None:
            yield from selectors(below)
    for argument in getattr(node, "args", ()):
        yield from selectors(argument)


def test_selectors_finds_those_inside_of_functions_and_ranges() -> None:
    text = 'sum by (a) (rate(x{l="1"}[5m])) / on() group_left y unless z offset 5m'
    assert sorted(one.name for one in selectors(promql_parser.parse(text))) == ["x", "y", "z"]


@pytest.mark.parametrize(("where", "text"), [*expressions()], ids=lambda item: item[:40])
def test_every_metric_and_label_exists(where: str, text: str) -> None:
    known, parsed = exported(), promql_parser.parse(text)
    found = list(selectors(parsed))
    assert found or where == "Watchdog"
    for selector in found:
        assert selector.name in known, selector.name
        assert {matcher.name for matcher in selector.matchers.matchers} <= known[selector.name], selector.name
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", text) for label in labels.split(",")}
    assert grouped <= set().union(*(known[selector.name] for selector in found), set())


@pytest.mark.parametrize("name", sorted(declared()))
def test_every_declared_metric_is_set_somewhere(name: str) -> None:
    files = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
    uses = [path for path in files if path.name != "metrics.py" and re.search(rf"\b{name}\.", path.read_text())]
    assert uses


THRESHOLDS = {
    "OutboxOld": f"outbox_oldest_age_seconds) > {OLD_SECONDS}",
    "OutboxDead": "outbox_dead_rows) > 0",
    "DeadLetters": "dead_letters_open) > 0",
    "ConsumerStopped": "consumers_stopped) > 0",
    "PartitionWaiting": f"partition_waiting_seconds) > {OLD_SECONDS}",
    "TimersFailing": "timers_failing) > 0",
}


def test_the_rules_that_operators_rely_on() -> None:
    names = [rule["alert"] for rule in RULES]
    wanted = {"Watchdog", "ServiceDown", "OutboxOld", "OutboxDead", "DeadLetters", "TaskRestarts"}
    assert wanted <= set(names)
    assert len(names) == len(set(names))
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "warn", "none"}
        assert rule["annotations"]["summary"]
    watchdog = next(rule for rule in RULES if rule["alert"] == "Watchdog")
    assert (watchdog["expr"], "for" in watchdog) == ("vector(1)", False)


def test_every_trouble_that_is_told_has_a_rule_with_its_threshold() -> None:
    """As `shared/messaging/trouble.py` has them, for operators who page by their own monitoring."""
    by_name = {rule["alert"]: rule["expr"].rpartition("stillwater_")[2] for rule in RULES}
    assert {name: by_name[name] for name in THRESHOLDS} == THRESHOLDS


def test_one_rule_fires_while_notifications_watches_and_its_opposite_pages() -> None:
    """Two rules for one figure: whoever hears the first knows by its absence, and needs nobody here for it."""
    by_name = {rule["alert"]: rule for rule in RULES}
    always, blind = by_name["NotificationsWatches"], by_name["NotificationsBlind"]
    assert [(rule["labels"]["severity"], "for" in rule) for rule in (always, blind)] == [
        ("none", False),
        ("page", False),
    ]
    figure = always["expr"].removesuffix(" < 30")
    assert blind["expr"].startswith(f"{figure} >= 30 or absent(stillwater_watch_looked_timestamp_seconds")


def test_every_service_is_scraped_where_it_shows_its_metrics() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    (job,) = PROMETHEUS["scrape_configs"]
    assert job["job_name"] == "stillwater"
    found = {item["labels"]["service"]: item["targets"] for item in job["static_configs"]}
    assert found == {name: [f"{name}:{compose[name]['environment']['HEALTH_PORT']}"] for name in SERVICES}
    missing = next(rule["expr"] for rule in RULES if rule["alert"] == "ServiceMissing")
    assert set(re.findall(r'service="(\w+)"', missing)) == set(SERVICES)


def test_prometheus_and_grafana_find_their_files() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounted = {part[1]: part[0] for name in ("prometheus", "grafana") for part in _mounts(compose[name])}
    assert mounted[PROMETHEUS["rule_files"][0]] == "./deploy/observability/alerts.yaml"
    provisioning = DEPLOY / "compose" / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "provider.yaml").read_text())["providers"][0]
    assert mounted[provider["options"]["path"] + "/stillwater.json"] == "./deploy/observability/dashboard.json"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    used = {part["datasource"]["uid"] for panel in DASHBOARD["panels"] for part in (panel, *panel["targets"])}
    assert used == {source["uid"]}


def _mounts(container: dict[str, Any]) -> list[list[str]]:
    return [mount.split(":") for mount in container["volumes"]]


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
