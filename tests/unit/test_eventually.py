"""What the tests wait with: as soon as it is so, in its time, and never a fault kept back."""

import pytest

from tests.support.eventually import NotInTime, eventually


async def test_what_is_looked_for_is_given_as_soon_as_it_is_there() -> None:
    looks = iter([None, 0, "", "there", "later"])

    async def at(number: int) -> object:
        return next(looks) or number

    assert await eventually(lambda: at(0), every_s=0) == "there"
    assert next(looks) == "later"


async def test_what_never_comes_true_is_told_after_its_time() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(NotInTime, match=r"did not come true within 0\.05 s"):
        await eventually(never, within_s=0.05, every_s=0.01)


async def test_a_fault_is_told_at_once() -> None:
    looked = []

    async def broken() -> bool:
        looked.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await eventually(broken)
    assert looked == [1]
