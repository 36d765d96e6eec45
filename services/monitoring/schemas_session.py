"""HTTP bodies of the session: groups, the gate's override, waste."""

from services.monitoring.protocol import Kind
from services.monitoring.schemas import Code, Expiry, Medication, Milligrams, Moment, Route
from shared.web.schemas import Body, Id, ShortText


class GateOpening(Body):
    """`prescriber_on_site` is in the staff directory."""

    prescriber_on_site: ShortText | None = None


class Override(Moment):
    """Why the dose is given all the same; `prescriber_on_site` is in the staff directory."""

    reason_code: Code
    prescriber_on_site: ShortText | None = None


class Waste(Moment):
    """What was drawn up and not given; `witness` is another person of the staff directory who saw it go."""

    medication: Medication
    amount_mg: Milligrams
    lot: ShortText
    expiry: Expiry | None = None
    witness: ShortText


class NewParticipant(Body):
    patient_id: Id
    plan_id: Id | None = None
    route: Route | None = None


class Participant(Body):
    """One of a group, by `participant_id`: everything else of the record lies below it."""

    participant_id: Id
    state: str


class Group(Body):
    """A session with participants: each has a record of its own, nothing lies on the group itself."""

    id: Id
    kind: Kind
    location_id: Id | None = None
    participants: list[Participant]
    version: int
