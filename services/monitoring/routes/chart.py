"""A session's vital signs as a picture."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from services.monitoring.chart_data import chart_of
from services.monitoring.routes.edge import SESSION, Clinical, deps, edge
from services.monitoring.store import ALARMS, ENTRIES, charted_readings
from services.monitoring.timeline import present
from services.monitoring.usecases import charting, sessions
from shared.persistence.mongo import UnitOfWork
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["chart"])
DRAWING = b"1"  # of chart.py: another number where the same data shall look different
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The chart", "content": {"image/svg+xml": {}}},
    304: {"description": "It is the one that If-None-Match names"},
}


@router.get(f"{SESSION}/chart.svg", response_class=Response, responses=problems(404) | _SVG)
async def get_chart(session_id: Id, request: Request, call: Clinical) -> Response:
    """Values, limits, doses, alarms and interventions on one time axis."""

    async def work(unit: UnitOfWork) -> Callable[[], bytes]:
        session = await sessions.load(unit, session_id, "chart")
        mine, limits = {"session_id": session_id}, deps(call).limits(session)
        alarms = await unit.collection(ALARMS).find(mine)
        entries = present(await unit.collection(ENTRIES).find(mine))
        readings = await charting.folded(unit, session_id, None) or await charted_readings(unit, session_id)
        now = unit.clock.clinical_now()
        return lambda: chart_of(session, readings, limits, alarms, entries, now).encode()

    # A long session is tens of thousands of points: a quarter of a second, in which no reading would be judged.
    chart = await asyncio.to_thread(await call.runtime.mongo.run(call.scope, work))
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(DRAWING + chart).hexdigest()[:32]}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(await edge(call).charts.draw(chart), headers=headers, media_type="image/svg+xml")
