"""The FastAPI application of one service: the same limits, problems and OpenAPI in all four."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from shared.web import problems
from shared.web.describe import describe
from shared.web.form import FormOrigins
from shared.web.limits import Limits
from shared.web.lines import lines_paths
from shared.web.nurse import nurse_paths
from shared.web.paths import Methods
from shared.web.runtime import Runtime
from shared.web.streams import stream_paths


def create_app(service: str, routers: list[APIRouter], runtime: Runtime | None) -> FastAPI:
    """Without a runtime the app only describes itself (OpenAPI)."""
    app = FastAPI(
        title=f"Stillwater {service}",
        version="1",
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,  # a redirected POST loses its body or its token, and names the host that was sent
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours: shared/web/limits.py (ADR 3)
    )
    app.state.runtime = runtime
    for router in routers:
        app.include_router(router)
    problems.install(app, Methods(app.routes))
    routes = app.routes
    app.add_middleware(
        Limits,
        nurse_paths=nurse_paths(routes),
        lines_paths=lines_paths(routes),
        stream_paths=stream_paths(routes),
    )
    if runtime is not None and runtime.form_origins:
        app.add_middleware(FormOrigins, routes=app.routes, origins=runtime.form_origins)
    _describe_problems(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe_problems(app: FastAPI) -> None:
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        describe(app, document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
