"""HTTP in, one use case, HTTP out; one file per group of resources."""

from fastapi import APIRouter

from services.scheduling.routes import appointments, courses, places, staff

router = APIRouter()
for group in (staff, places, appointments, courses):
    router.include_router(group.router)
