"""The FastAPI application of one service: the same limits, problems and OpenAPI in all four."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from shared.web import problems
from shared.web.limits import Limits
from shared.web.problems import Problem
from shared.web.runtime import Runtime


def create_app(service: str, routers: list[APIRouter], runtime: Runtime | None) -> FastAPI:
    """Without a runtime the app only describes itself (OpenAPI)."""
    app = FastAPI(
        title=f"Stillwater {service}",
        version="1",
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    app.state.runtime = runtime
    for router in routers:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Limits)
    _describe_problems(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe_problems(app: FastAPI) -> None:
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
