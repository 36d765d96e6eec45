"""Health and metrics on a port of their own, so that a full request queue does not fail liveness."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@dataclass(frozen=True)
class Readiness:
    """`required` decides whether requests and events are taken; what is only `reported` makes it degraded."""

    required: Mapping[str, bool]
    reported: Mapping[str, bool] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if not all(self.required.values()):
            return "unready"
        return "ready" if all(self.reported.values()) else "degraded"


def health_app(alive: Callable[[], dict[str, bool]], ready: Callable[[], Readiness]) -> FastAPI:
    """`/livez` asks whether loops make attempts, `/readyz` whether requests and events can be served."""
    app = FastAPI(openapi_url=None)

    @app.get("/livez")
    async def livez() -> Response:
        loops = alive()
        return _json(loops, 200 if all(loops.values()) else 503)

    @app.get("/readyz")
    async def readyz() -> Response:
        now = ready()
        checks = {**now.reported, **now.required}
        return _json({"status": now.status, "checks": checks}, 503 if now.status == "unready" else 200)

    @app.get("/startupz")
    async def startupz() -> Response:
        return _json({"started": True}, 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def _json(content: object, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
