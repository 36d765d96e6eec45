"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from fastapi import APIRouter

from services.monitoring.routes import (
    alarms,
    board,
    chart,
    corrections,
    emergency,
    ending,
    entries,
    participants,
    protocols,
    sessions,
    substances,
    timeline,
    vitals,
)

router = APIRouter()
router.include_router(protocols.router)
router.include_router(board.router)
# The first is found first: readings come by the thousand.
for part in (vitals, sessions, ending, entries, corrections, emergency, timeline, substances, alarms, chart):
    router.include_router(part.router)
    router.include_router(participants.below_the_group(part.router.routes))
router.include_router(participants.router)
