"""HTTP bodies of what people write down, of corrections, of the emergency and of the ways out."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from services.monitoring.discharge import Aftercare
from services.monitoring.scales import RATINGS, SCALES, version_of
from services.monitoring.schemas import Code, EventCode, Expiry, Milligrams, Moment, Note
from shared.web.schemas import Body, Id, Instant, ShortText

Disposition = Literal["against_advice", "left_unseen", "transferred", "died"]
ObservationCode = Literal[
    "comfort", "cadss6", "cadss", "moaas", "pain", "nausea", "aldrete", "padss", "symptoms", "other"
]
InterventionCode = Literal[
    "antiemetic", "antihypertensive", "oxygen", "reassurance", "stop", "extended_observation", "other"
]
SupportCode = Literal["eye_mask", "music", "guidance", "blanket", "other"]
Severity = Literal["mild", "moderate", "severe"]
Rating = Annotated[int, Field(ge=0, le=10)]
Items = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,30}$")], Annotated[int, Field(ge=0, le=4)]],
    Field(min_length=1, max_length=23),
]


class Entry(Moment):
    """An entry of the timeline; `note` is free text, kept encrypted."""

    note: Note | None = None

    def facts(self) -> dict[str, Any]:
        """Codes and numbers of the entry."""
        return self.model_dump(mode="json", exclude={"occurred_at", "note"}, exclude_none=True)


class Scored(Body):
    """A scale item by item (CADSS, CADSS-6, Aldrete, PADSS, symptoms), or a rating (MOAA/S, pain, nausea, comfort): clinical.md 2."""

    observation_code: ObservationCode
    score: Annotated[Rating | None, Field(validate_default=True)] = None
    items: Annotated[Items | None, Field(validate_default=True)] = None

    @field_validator("score")
    @classmethod
    def _is_a_rating(cls, score: int | None, info: ValidationInfo) -> int | None:
        code = info.data.get("observation_code", "other")
        if code in SCALES and score is not None:
            raise ValueError("the total is computed from the items")
        rating = RATINGS.get(code)
        if rating is not None and (score is None or score > rating.highest):
            raise ValueError(f"needs a number from 0 to {rating.highest}")
        return score

    @field_validator("items")
    @classmethod
    def _are_of_the_scale(cls, items: dict[str, int] | None, info: ValidationInfo) -> dict[str, int] | None:
        scale = SCALES.get(info.data.get("observation_code", "other"))
        if scale is not None:
            scale.total(items or {})
        elif items is not None:
            raise ValueError("only a scale has items")
        return items

    def measured(self) -> dict[str, Any]:
        """Code, items and the total or the number, with the version of the scale."""
        facts = self.model_dump(include={"observation_code", "score", "items"}, exclude_none=True)
        scale, version = SCALES.get(self.observation_code), version_of(self.observation_code)
        if scale is not None and self.items is not None:
            facts["score"] = scale.total(self.items)
        return facts | ({"scale_version": version} if version else {})


class Observation(Entry, Scored):
    """What was seen, in numbers."""

    model_config = ConfigDict(json_schema_extra={"example": {"observation_code": "moaas", "score": 4}})

    def facts(self) -> dict[str, Any]:
        return self.measured()


class Intervention(Entry):
    """`extended_observation` is a longer recovery: it ends nothing."""

    intervention_code: InterventionCode


class AdverseEvent(Entry):
    """Codes of clinical.md 10; `serious` in the sense of its section 6.

    `occurred_at` is the onset; without it the event began now, or when it was over.
    """

    event_code: EventCode
    severity: Severity
    serious: bool
    resolved_at: Instant | None = None

    @field_validator("resolved_at")
    @classmethod
    def _after_the_onset(cls, resolved_at: Instant | None, info: ValidationInfo) -> Instant | None:
        onset = info.data.get("occurred_at")
        if resolved_at is not None and onset is not None and resolved_at < onset:
            raise ValueError("lies before the onset")
        return resolved_at

    @model_validator(mode="after")
    def _began_before_it_was_over(self) -> "AdverseEvent":
        self.occurred_at = self.occurred_at or self.resolved_at
        return self


class Support(Entry):
    support_code: SupportCode


class EntryShown(Body):
    """`corrected_by` is the newest correction of the entry; `facts` stay as they were recorded.

    `intention` of the session stands with the check-in.
    """

    id: Id
    kind: str
    occurred_at: Instant
    recorded_at: Instant
    by: str
    by_role: str
    facts: dict[str, Any]
    note: str | None = None
    intention: str | None = None
    corrected_by: Id | None = None


# Corrections


class DoseCorrection(Body):
    amount_mg: Milligrams | None = None
    lot: ShortText | None = None
    expiry: Expiry | None = None


class WasteCorrection(Body):
    """`witness`: who saw it, never whoever corrects."""

    amount_mg: Milligrams | None = None
    lot: ShortText | None = None
    expiry: Expiry | None = None
    witness: ShortText | None = None


class AdverseEventCorrection(Body):
    severity: Severity | None = None
    serious: bool | None = None
    resolved_at: Instant | None = None


class Correction(Entry):
    """A new entry that says how it was; only the part of the entry's own kind. `entered_in_error`: it never was."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"reason_code": "typing_error", "observation": {"observation_code": "moaas", "score": 5}}
        }
    )

    reason_code: Code
    entered_in_error: bool = False
    dose: DoseCorrection | None = None
    waste: WasteCorrection | None = None
    observation: Scored | None = None
    intervention_code: InterventionCode | None = None
    support_code: SupportCode | None = None
    adverse_event: AdverseEventCorrection | None = None

    @property
    def parts(self) -> set[str]:
        """What of it was given."""
        names = ("dose", "waste", "observation", "intervention_code", "support_code", "adverse_event")
        return {name for name in names if getattr(self, name) is not None}


class MoveEntry(Moment):
    """It was another patient's: of the session that is named. `occurred_at` is of the moving."""

    to_session_id: Id
    reason_code: Code


# Emergency


class Emergency(Moment):
    code: Literal["airway", "breathing", "circulation", "seizure", "anaphylaxis", "behaviour", "fire", "other"] = (
        "other"
    )


Prompt = Literal["Call the ambulance now."]


class EmergencyCall(Body):
    """What to do now beside the page to everybody: the code clock runs since the first call.

    `prompt` as in EmergencyLogged.
    """

    entry_id: Id
    code_clock_started_at: Instant
    prompt: Prompt | None = None


class EmergencyLine(Entry):
    log_code: Literal[
        "ambulance_called",
        "ambulance_arrived",
        "airway_opened",
        "oxygen_given",
        "compressions_started",
        "compressions_stopped",
        "shock_given",
        "drug_given",
        "handed_over",
        "other",
    ] = "other"


class EmergencyLogged(EntryShown):
    """`prompt` stands until somebody has logged that the ambulance is called; a line of shortly before the call counts."""

    prompt: Prompt | None = None


# Ways out


class Discharge(Moment):
    """Scales, pressures and breathing are read from what was recorded after the last dose; whoever calls signs."""

    dissociation_resolved: bool
    escort_confirmed: bool
    aftercare: Annotated[list[Aftercare], Field(max_length=10)] = Field(default_factory=list)
    override_reason: Code | None = None


class Leave(Entry):
    """Every other way out, with what is known of it; nothing more than the disposition is asked for.

    Against advice: risks explained, form signed, with whom. Unseen: whether the patient was reached. Transferred: where
    to, by ambulance, who took over. Died: who certified it; `occurred_at` is the time of death.
    """

    disposition: Disposition
    risks_explained: bool | None = None
    refusal_signed: bool | None = None
    accompanied: bool | None = None
    reached: Literal["by_phone", "contact_reached", "not_reached", "not_tried"] | None = None
    transferred_to: Literal["emergency_department", "hospital_ward", "other_clinic", "other"] | None = None
    by_ambulance: bool | None = None
    handed_over_to_role: Code | None = None
    certified_by_role: Code | None = None
