"""The check of `make fuzz`: memory that levels off is no leak, memory that grows in every repeat is one."""

import mmap
from pathlib import Path

import psutil
import pytest

from tests.support.fuzz import MEMORY, check_memory, memory, peak, reset_peak


@pytest.mark.parametrize(
    "after",
    [[269, 265, 275, 271], [171, 269, 265, 275], [193, 193, 228, 228], [200, 260, 290, 291], [220, 220, 220, 220]],
)
def test_a_plateau_is_not_a_leak(after: list[float]) -> None:
    check_memory(after, 400)


@pytest.mark.parametrize("after", [[171, 181, 191, 201], [269, 300, 320, 330]])
def test_growth_in_every_repeat_is_a_leak(after: list[float]) -> None:
    with pytest.raises(AssertionError, match="the worker grew by at least 10 MB in each repeat"):
        check_memory(after, 400)


def test_a_peak_above_the_memory_limit_is_an_error() -> None:
    with pytest.raises(AssertionError, match="had 513 MB at once, expected less than 512"):
        check_memory([200, 200, 200, 200], MEMORY + 1)


def test_a_past_peak_is_reported_until_it_is_reset() -> None:
    process, size = psutil.Process(), 64 * 2**20
    reset_peak(process)
    before = memory(process)
    with mmap.mmap(-1, size) as pages:
        for start in range(0, size, mmap.PAGESIZE):
            pages[start] = 1

    if Path("/proc/self/clear_refs").exists():
        assert peak(process) > before + 48
        reset_peak(process)
    assert peak(process) < before + 48
