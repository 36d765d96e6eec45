"""What a path may be asked."""

import pytest
from fastapi import APIRouter, FastAPI

from shared.web.paths import Methods

router = APIRouter()


@router.get("/v1/things")
@router.post("/v1/things")
@router.get("/v1/things/{thing_id}")
@router.patch("/v1/things/{thing_id}")
@router.delete("/v1/things/{thing_id}/parts/{part_id}")
async def anything() -> None: ...


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/things", "GET, POST"),
        ("/v1/things/1", "GET, PATCH"),
        ("/v1/things/1/parts/2", "DELETE"),
        ("/v1/things/1/", ""),
        ("/v1/other", ""),
    ],
)
def test_allow_names_the_methods_of_every_route_of_a_path(path: str, allow: str) -> None:
    app = FastAPI()
    app.include_router(router)
    assert Methods(app.routes).allow(path) == allow
