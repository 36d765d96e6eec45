"""HTTP in, one use case, HTTP out; one file per group, `edge` names who may call."""

from fastapi import APIRouter

from services.intake.routes import bedside, clinic, consents, eligibility, inquiries, patients, plans

router = APIRouter()
for part in (inquiries, patients, plans, consents, eligibility, bedside, clinic):
    router.include_router(part.router)
