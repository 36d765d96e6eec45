"""HTTP in, one use case, HTTP out: `api` with a bearer token, `links` without."""

from fastapi import APIRouter

from services.notifications.routes import api, links

router = APIRouter()
router.include_router(api.router)
router.include_router(links.router)
