"""What every service is told by its environment. No secret has a default; every unit is in the name."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import SRV_SCHEME, parse_uri

from shared.keys import read_key, read_ring

S = TypeVar("S", bound="ServiceSettings")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def is_url(text: str) -> str:
    """Raises ValueError for all but http or https with a host."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", text):
        raise ValueError("must be an http or https URL with a host")
    return text


def _is_url_or_empty(text: str) -> str:
    return is_url(text) if text else text


def _is_ring(secret: SecretStr) -> SecretStr:
    read_ring(secret.get_secret_value())
    return secret


def _is_key(secret: SecretStr) -> SecretStr:
    read_key(secret.get_secret_value())
    return secret


def _is_mongodb(secret: SecretStr) -> SecretStr:
    """A `mongodb+srv` URI is read when it is used: its hosts are in the DNS."""
    text = secret.get_secret_value()
    try:
        if not text.startswith(SRV_SCHEME):
            parse_uri(text)
    except (PyMongoError, ValueError):
        raise ValueError("must be a mongodb:// URI with escaped user and password") from None
    return secret


def _are_brokers(text: str) -> str:
    if not all(0 < port < 65536 for _, port in map(_host_and_port, text.split(","))):  # noqa: PLR2004 - 16 bits
        raise ValueError("must be host:port, several with commas between them")
    return text


def _host_and_port(text: str) -> tuple[str, int]:
    """("", 0) for what is neither."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]@/]+)):(\d{1,5})", text.strip())
    return (found[1] or found[2], int(found[3])) if found else ("", 0)


Port = Annotated[int, Field(ge=1, le=65535)]
Url = Annotated[str, AfterValidator(is_url)]
OptionalUrl = Annotated[str, AfterValidator(_is_url_or_empty)]
Ring = Annotated[SecretStr, AfterValidator(_is_ring)]
Key = Annotated[SecretStr, AfterValidator(_is_key)]
MongoUri = Annotated[SecretStr, AfterValidator(_is_mongodb)]
Brokers = Annotated[str, AfterValidator(_are_brokers)]
Name = Annotated[str, Field(min_length=1)]


class ServiceSettings(BaseSettings):
    """Subclassed once per service with its prefix: `INTAKE_MONGODB_URI` and so on.

    Each rule belongs to one field, so that one start names every fault.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    environment: Literal["local", "production"] = "production"
    mongodb_uri: MongoUri
    mongodb_database: Name
    mongodb_migrate_uri: MongoUri | None = None
    kafka_bootstrap_servers: Brokers
    kafka_security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = Field(None, validate_default=True)
    kafka_replication_factor: Annotated[int, Field(ge=1)] = 3
    kafka_min_insync_replicas: Annotated[int, Field(ge=1)] = 2
    oidc_issuer: Url
    oidc_jwks_url: Url
    oidc_audience: Name = "stillwater"
    api_host: Name = "127.0.0.1"
    api_port: Port
    health_host: Name = "127.0.0.1"
    health_port: Port
    key_ring: Ring
    transport_key_ring: Ring | None = None
    signing_key: Key
    audit_key: Key
    audit_anchor_path: Path
    otlp_endpoint: OptionalUrl | None = None
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    clinical_clock_path: Path | None = None
    drain_seconds: Annotated[int, Field(ge=1)] = 15
    unready_seconds: Annotated[float, Field(ge=0)] = 1.0
    outbox_max_rows: Annotated[int, Field(ge=1000)] = 2_000_000
    rate_per_minute: Annotated[int, Field(ge=1)] = 6000
    form_rate_per_minute: Annotated[int, Field(ge=1)] = 30
    form_origins: str = ""

    @field_validator("kafka_password")
    @classmethod
    def _user_with_password(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("kafka_username") and not (password and password.get_secret_value()):
            raise ValueError("is needed beside a kafka_username")
        return password

    @field_validator("kafka_min_insync_replicas")
    @classmethod
    def _no_more_than_there_are(cls, number: int, info: ValidationInfo) -> int:
        if number > info.data.get("kafka_replication_factor", number):
            raise ValueError("must not exceed kafka_replication_factor: nothing could be written")
        return number

    @field_validator("health_port")
    @classmethod
    def _a_port_of_its_own(cls, port: int, info: ValidationInfo) -> int:
        if port == info.data.get("api_port"):
            raise ValueError("must differ from api_port")
        return port

    @field_validator("audit_anchor_path")
    @classmethod
    def _names_a_file(cls, path: Path) -> Path:
        if not path.name or path.is_dir():
            raise ValueError("must name a file")
        return path

    @field_validator("clinical_clock_path")
    @classmethod
    def _scaled_time_is_local(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """A store whose own setting is at fault is spoken of there."""
        brokers: str | None = info.data.get("kafka_bootstrap_servers")
        hosts = {_host_and_port(item)[0] for item in brokers.split(",")} if brokers else set()
        for name in ("mongodb_uri", "mongodb_migrate_uri"):
            uri: SecretStr | None = info.data.get(name)
            hosts |= _mongodb_hosts(uri.get_secret_value()) if uri else set()
        if path is not None and (info.data.get("environment") != "local" or not hosts <= _LOOPBACK):
            raise ValueError("is accepted only in the local environment, with every store on loopback")
        return path

    @field_validator("form_origins")
    @classmethod
    def _origins_by_name(cls, text: str) -> str:
        """Comma-separated origins whose pages may send the public form: `https://clinic.example`."""
        if not all(re.fullmatch(r"https?://[^/*\s]+", origin) for origin in text.split(",") if origin):
            raise ValueError("must be origins (scheme, host, port) with commas between them, never a wildcard")
        return text


def _mongodb_hosts(uri: str) -> set[str]:
    """A name that the DNS resolves to servers counts as itself, and as not local."""
    if uri.startswith(SRV_SCHEME):
        return {"mongodb+srv"}
    return {str(host) for host, _ in parse_uri(uri)["nodelist"]}


def read_settings(service: str, make: Callable[[], S]) -> S:
    """Wrong settings stop the process at once with all faults listed, by their environment names; exit code 2."""
    try:
        return make()
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in fault["loc"])
            sys.stderr.write(f"{service.upper()}_{name.upper()}: {_words(fault['type'], fault['msg'])}\n")
        sys.exit(2)


def _words(kind: str, text: str) -> str:
    """What is wrong, never what was given."""
    if kind == "missing":
        return "is not set"
    plain = text.removeprefix("Value error, ").removeprefix("Input ")
    return re.sub(r", unable to parse .*", "", plain)
