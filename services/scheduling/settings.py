from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings


class SchedulingSettings(ServiceSettings):
    """Environment variables with the prefix `SCHEDULING_`."""

    model_config = SettingsConfigDict(env_prefix="SCHEDULING_", frozen=True, extra="ignore")

    mongodb_database: str = "scheduling"
    api_port: Port = 8002
    health_port: Port = 8102
