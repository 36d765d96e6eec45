"""HTTP in, one use case, HTTP out. Nothing here stops a nurse: no key, no If-Match on what must always work."""

from fastapi import APIRouter

from services.monitoring.routes import alarms, entries, sessions, vitals

router = APIRouter()
for part in (vitals, sessions, entries, alarms):  # the first is found first: readings come by the thousand
    router.include_router(part.router)
