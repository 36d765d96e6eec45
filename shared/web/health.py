"""Health and metrics on a port of their own, so that a full request queue does not fail liveness."""

from collections.abc import Callable

import orjson
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], dict[str, bool]]


def health_app(alive: Check, ready: Check) -> FastAPI:
    """`/livez` asks whether tasks make attempts, `/readyz` whether requests and events can be served."""
    app = FastAPI(openapi_url=None)

    def answer(checks: dict[str, bool]) -> Response:
        return Response(orjson.dumps(checks), 200 if all(checks.values()) else 503, media_type="application/json")

    @app.get("/livez")
    async def livez() -> Response:
        return answer(alive())

    @app.get("/readyz")
    async def readyz() -> Response:
        return answer(ready())

    @app.get("/startupz")
    async def startupz() -> Response:
        return answer({"started": True})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
