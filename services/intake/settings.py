from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """Environment variables with the prefix `INTAKE_`."""

    model_config = SettingsConfigDict(env_prefix="INTAKE_", frozen=True, extra="ignore")

    mongodb_database: str = "intake"
    api_port: int = 8001
    health_port: int = 8101
    publishable_keys: str = ""
