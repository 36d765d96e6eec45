"""What every service is told by its environment. No secret has a default; every unit is in the name."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound="ServiceSettings")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class ServiceSettings(BaseSettings):
    """Subclassed once per service with its prefix: `INTAKE_MONGODB_URI` and so on."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    environment: Literal["local", "production"] = "production"
    mongodb_uri: SecretStr
    mongodb_database: str
    mongodb_migrate_uri: SecretStr | None = None
    kafka_bootstrap_servers: str
    kafka_security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_replication_factor: int = 3
    kafka_min_insync_replicas: int = 2
    oidc_issuer: str
    oidc_jwks_url: str
    oidc_audience: str = "stillwater"
    api_host: str = "127.0.0.1"
    api_port: int
    health_host: str = "127.0.0.1"
    health_port: int
    key_ring: SecretStr
    transport_key_ring: SecretStr | None = None
    signing_key: SecretStr
    audit_key: SecretStr
    audit_anchor_path: Path
    otlp_endpoint: str | None = None
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    clinical_clock_path: Path | None = None
    drain_seconds: int = 15
    unready_seconds: float = 1.0
    rate_per_minute: Annotated[int, Field(ge=1)] = 6000
    form_rate_per_minute: Annotated[int, Field(ge=1)] = 30
    form_origins: str = ""

    @field_validator("form_origins")
    @classmethod
    def _origins_by_name(cls, text: str) -> str:
        """Comma-separated origins whose pages may send the public form: `https://clinic.example`."""
        if not all(re.fullmatch(r"https?://[^/*\s]+", origin) for origin in text.split(",") if origin):
            raise ValueError("form_origins are origins (scheme, host, port) with commas between them, never a wildcard")
        return text

    @model_validator(mode="after")
    def _scaled_time_is_local(self) -> "ServiceSettings":
        stores = (self.mongodb_uri.get_secret_value(), self.kafka_bootstrap_servers)
        local = self.environment == "local" and all(any(host in store for host in _LOOPBACK) for store in stores)
        if self.clinical_clock_path is not None and not local:
            raise ValueError("clinical_clock_path is accepted only in the local environment with loopback stores")
        return self


def read_settings(service: str, make: Callable[[], S]) -> S:
    """Wrong settings stop the process at once with all faults listed, by their environment names; exit code 2."""
    try:
        return make()
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]) or "settings"
            text = fault["msg"] if fault["type"] == "value_error" else fault["type"].replace("_", " ")
            sys.stderr.write(f"{service.upper()}_{name.upper()}: {text}\n")
        sys.exit(2)
