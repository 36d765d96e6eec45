"""An alarm about the measuring itself, from the request to the pager and back, each on the running system."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from services.monitoring.usecases.due import LOOK_AGAIN
from tests.journey.staff import Staff

PAGE_S = 10.0
LATE_MINUTES = 45  # esketamine.yaml: at 40, five minutes of grace
SYSTOLIC: dict[str, Any] = {"sign": "8480-6", "unit": "mm[Hg]"}
DIASTOLIC: dict[str, Any] = {"sign": "8462-4", "unit": "mm[Hg]", "device": "manual", "value": 80}
HEART: dict[str, Any] = {"sign": "8867-4", "value": 71, "unit": "/min"}


@pytest.fixture
def staff(stack: Stack) -> Iterator[Staff]:
    made = Staff(stack, f"clinic-{uuid4().hex[:8]}")
    yield made
    made.client.close()


async def test_a_device_that_falls_silent_is_paged_and_its_return_ends_it(staff: Staff) -> None:
    path = staff.seats()
    staff.doses(path)
    staff.measures(path, **HEART, device="m1")
    alarm = await staff.alarm(path, "signal:m1", 30)
    assert alarm["priority"] == "high"
    await staff.paged("signal lost", PAGE_S)
    staff.measures(path, **HEART, device="m1")
    await staff.alarm(path, "signal:m1", 10, is_open=False)


async def test_a_value_that_no_body_has_is_paged_and_a_valid_one_ends_it(staff: Staff) -> None:
    path = staff.seats()
    staff.doses(path)
    staff.measures(path, **SYSTOLIC, value=301, device="manual")
    alarm = await staff.alarm(path, "implausible:8480-6", 10)
    assert (alarm["category"], alarm["priority"]) == ("technical", "medium")
    await staff.paged("technical alarm", PAGE_S)
    staff.measures(path, **SYSTOLIC, value=121, device="manual")
    await staff.alarm(path, "implausible:8480-6", 10, is_open=False)


async def test_a_device_whose_clock_is_wrong_is_paged_with_its_offset_and_setting_it_ends_it(staff: Staff) -> None:
    path, off = staff.seats(), timedelta(hours=13).total_seconds()
    staff.doses(path)
    staff.measures(path, **HEART, device="m1", seconds_ago=off)
    alarm = await staff.alarm(path, "clock:m1", 10)
    assert alarm["offset_s"] == pytest.approx(off, abs=5)
    await staff.paged("clock:m1", PAGE_S)
    staff.measures(path, **HEART, device="m1")
    await staff.alarm(path, "clock:m1", 10, is_open=False)


async def test_a_pressure_that_was_due_and_not_taken_is_paged_and_taking_it_ends_it(staff: Staff) -> None:
    """Esketamine: blood pressure about 40 minutes after the device (LABEL); here the time for it passes while we look."""
    path = staff.seats(route="esketamine_nasal")
    staff.dosed_elsewhere(path, minutes_ago=LATE_MINUTES - 0.1)
    alarm = await staff.alarm(path, "missed:", 40)
    assert (alarm["category"], alarm["priority"]) == ("technical", "medium")
    await staff.paged("missed:", PAGE_S)
    staff.measures(path, **SYSTOLIC, value=121, device="manual")
    staff.measures(path, **DIASTOLIC)
    await staff.alarm(path, "missed:", LOOK_AGAIN.total_seconds() + 10, is_open=False)
