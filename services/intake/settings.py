import re

from pydantic import field_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import Port, Ring, ServiceSettings


class IntakeSettings(ServiceSettings):
    """Environment variables with the prefix `INTAKE_`; `publishable_keys` is `key:clinic_id,key2:clinic_id`."""

    model_config = SettingsConfigDict(env_prefix="INTAKE_", frozen=True, extra="ignore")

    mongodb_database: str = "intake"
    api_port: Port = 8001
    health_port: Port = 8101
    transport_key_ring: Ring
    publishable_keys: str = ""

    @field_validator("publishable_keys")
    @classmethod
    def _each_names_its_clinic(cls, text: str) -> str:
        if not all(re.fullmatch(r"[^\s:]+:[^\s:]+", item) for item in text.split(",") if item):
            raise ValueError("must be key:clinic_id, several with commas between them")
        return text

    def clinic_of_key(self) -> dict[str, str]:
        """The clinic that each publishable key speaks for."""
        pairs = [item.partition(":") for item in self.publishable_keys.split(",") if item]
        return {key: clinic for key, _, clinic in pairs}
