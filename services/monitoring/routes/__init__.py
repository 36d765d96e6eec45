"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from fastapi import APIRouter

from services.monitoring.routes import alarms, board, chart, entries, sessions, vitals

router = APIRouter()
for part in (sessions, entries, vitals, alarms, board, chart):
    router.include_router(part.router)
