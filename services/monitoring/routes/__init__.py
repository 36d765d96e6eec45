"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from fastapi import APIRouter

from services.monitoring.routes import alarms, entries, participants, protocols, sessions, substances, vitals

router = APIRouter()
router.include_router(protocols.router)
for part in (sessions, entries, substances, vitals, alarms):
    router.include_router(part.router)
    router.include_router(participants.below_the_group(part.router.routes))
router.include_router(participants.router)
