"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from fastapi import APIRouter

from services.monitoring.routes import alarms, corrections, emergency, ending, entries, sessions, timeline, vitals

router = APIRouter()
for part in (sessions, ending, entries, corrections, emergency, timeline, vitals, alarms):
    router.include_router(part.router)
