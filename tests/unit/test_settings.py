"""Wrong settings stop a process before it does anything, with every fault named and no value shown."""

import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from services.notifications.settings import NotificationsSettings
from shared.settings import read_settings

ROOT = Path(__file__).parents[2]
KEY = b64encode(b"k" * 32).decode()
GOOD = {
    "MONGODB_URI": "mongodb://user:topsecret@127.0.0.1:27017/?replicaSet=rs0",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "OIDC_ISSUER": "https://issuer.example.org",
    "OIDC_JWKS_URL": "https://issuer.example.org/jwks",
    "KEY_RING": f"k1:{KEY}",
    "TRANSPORT_KEY_RING": f"t1:{KEY}",
    "SIGNING_KEY": KEY,
    "AUDIT_KEY": KEY,
    "AUDIT_ANCHOR_PATH": "/var/lib/stillwater/anchor.jsonl",
    "SMTP_HOST": "mail.example.org",
    "SMTP_PORT": "25",
    "SMS_URL": "https://sms.example.org, https://sms2.example.org",
    "PAGER_URL": "https://pager.example.org",
    "VOICE_URL": "https://voice.example.org",
    "FALLBACK_PAGER": "pager-1",
    "PUBLIC_URL": "https://clinic.example.org/",
}
BAD = {
    "ENVIRONMENT": "staging",
    "MONGODB_URI": "mongodb://user:top/secret@127.0.0.1:27017",
    "MONGODB_MIGRATE_URI": "127.0.0.1:27017",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1",
    "KAFKA_USERNAME": "notifications",
    "KAFKA_REPLICATION_FACTOR": "2",
    "KAFKA_MIN_INSYNC_REPLICAS": "3",
    "OIDC_ISSUER": "issuer.example.org",
    "OIDC_JWKS_URL": "https://",
    "API_PORT": "70000",
    "HEALTH_PORT": "eighty",
    "KEY_RING": f"k1:{KEY},k1:{KEY}",
    "TRANSPORT_KEY_RING": "t1:topsecret",
    "SIGNING_KEY": "",
    "AUDIT_KEY": b64encode(b"topsecret").decode(),
    "OTLP_ENDPOINT": "collector:4318",
    "DRAIN_SECONDS": "0",
    "FORM_ORIGINS": "https://clinic.example.org,https://*.example.org",
    "SMTP_PORT": "0",
    "SMS_URL": "https://sms.example.org,",
    "VOICE_URL": "voice.example.org",
    "FALLBACK_PAGER": " ",
    "PUBLIC_URL": "ftp://clinic.example.org",
}
NOT_SET = ("AUDIT_ANCHOR_PATH", "PAGER_URL")


def _named(values: dict[str, str]) -> dict[str, str]:
    return {f"NOTIFICATIONS_{name}": text for name, text in values.items()}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A sound environment, to be spoilt."""
    for name, text in _named(GOOD).items():
        monkeypatch.setenv(name, text)
    return monkeypatch


def refused(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as stopped:
        read_settings("notifications", NotificationsSettings)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_a_process_names_all_its_faults_and_no_value() -> None:
    wrong = {name: text for name, text in {**GOOD, **BAD}.items() if name not in NOT_SET}
    command = [sys.executable, "-m", "services.notifications", "worker"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=_named(wrong))
    assert done.returncode == 2, done.stderr
    faults = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    wanted = set(BAD) - {"KAFKA_USERNAME", "KAFKA_REPLICATION_FACTOR"} | set(NOT_SET) | {"KAFKA_PASSWORD"}
    assert set(faults) == set(_named(dict.fromkeys(wanted, "")))
    assert faults["NOTIFICATIONS_PAGER_URL"] == "is not set"
    assert faults["NOTIFICATIONS_HEALTH_PORT"] == "should be a valid integer"
    for text in ("Traceback", "topsecret", "top/secret", KEY, BAD["AUDIT_KEY"]):
        assert text not in done.stderr


def test_a_port_that_is_taken_ends_the_process_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = GOOD | {"HEALTH_PORT": str(port), "AUDIT_ANCHOR_PATH": str(tmp_path / "anchor.jsonl")}
        command = [sys.executable, "-m", "services.notifications", "api"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=_named(given))
    wanted = f"cannot listen at 127.0.0.1, port {port}: Address already in use"
    assert (done.returncode, done.stderr.splitlines()) == (1, [wanted])


def test_sound_settings_are_taken(given: pytest.MonkeyPatch) -> None:
    given.setenv("NOTIFICATIONS_OTLP_ENDPOINT", "")
    settings = read_settings("notifications", NotificationsSettings)
    assert settings.public_url == "https://clinic.example.org"
    assert settings.urls("sms") == ("https://sms.example.org", "https://sms2.example.org")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MONGODB_URI", "mongodb://127.0.0.1:1,db.example.org:2/?replicaSet=rs0"),
        ("MONGODB_URI", "mongodb://127.0.0.1.example.org:1/?replicaSet=rs0"),
        ("MONGODB_URI", "mongodb://localhost:pw@db.example.org/?replicaSet=rs0"),
        ("MONGODB_URI", "mongodb+srv://localhost.example.org"),
        ("MONGODB_MIGRATE_URI", "mongodb://db.example.org/?replicaSet=rs0"),
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092,kafka.example.org:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost.example.org:9092"),
        ("ENVIRONMENT", "production"),
    ],
)
def test_scaled_time_is_refused_unless_every_host_of_every_store_is_loopback(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str
) -> None:
    given.setenv("NOTIFICATIONS_CLINICAL_CLOCK_PATH", str(tmp_path / "clock.jsonl"))
    given.setenv("NOTIFICATIONS_ENVIRONMENT", "local")
    given.setenv("NOTIFICATIONS_KAFKA_BOOTSTRAP_SERVERS", "localhost:9092,[::1]:9093")
    assert read_settings("notifications", NotificationsSettings).clinical_clock_path
    given.setenv(f"NOTIFICATIONS_{name}", text)
    wrong = refused(capsys)
    assert [line.partition(":")[0] for line in wrong] == ["NOTIFICATIONS_CLINICAL_CLOCK_PATH"]
