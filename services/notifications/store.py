"""The collections of notifications and their indexes."""

from pymongo import ASCENDING, DESCENDING, IndexModel

CONTACTS, MESSAGES, ESCALATIONS, LINKS, ROTA, STAFF = (
    "contacts",
    "messages",
    "escalations",
    "links",
    "rota",
    "staff_contacts",
)

INDEXES: dict[str, list[IndexModel]] = {
    CONTACTS: [],
    MESSAGES: [
        IndexModel([("state", ASCENDING), ("urgent", ASCENDING), ("next_at", ASCENDING)], name="to_send"),
        IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest"),
        IndexModel([("clinic_id", ASCENDING), ("subject_id", ASCENDING), ("state", ASCENDING)], name="subject"),
    ],
    ESCALATIONS: [IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest")],
    LINKS: [IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0, name="ttl")],
    ROTA: [],
    STAFF: [],
}
