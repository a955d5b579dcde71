"""A worker that hangs exits; one that works or waits does not."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from serving.http.watchdog import LIMIT, Watchdog


def ends(block: Callable[[Watchdog, threading.Event], object], in_loop: bool) -> bool:
    """Whether the watchdog detects `block` waiting, on the loop's thread or in another one."""
    ended = threading.Event()
    watchdog = Watchdog(limit=0.3, interval=0.05, on_hang=ended.set)

    async def main() -> None:
        watchdog.watch(asyncio.get_running_loop())
        if in_loop:
            block(watchdog, ended)
        else:
            await asyncio.to_thread(block, watchdog, ended)

    asyncio.run(main())
    return ended.is_set()


def test_a_blocked_event_loop_is_detected() -> None:
    assert ends(lambda watchdog, ended: bool(ended.wait(60)), in_loop=True)


def test_work_that_does_not_end_is_detected() -> None:
    assert ends(lambda watchdog, ended: bool(watchdog.run(lambda: ended.wait(60))), in_loop=False)


@pytest.mark.parametrize(("beat", "started", "hung"), [
    (0.0, None, False),  # waiting is not hanging
    (0.0, -LIMIT, False),
    (0.0, -LIMIT - 1, True),
    (-LIMIT - 1, None, True),
])  # fmt: skip
def test_a_worker_hangs_when_the_loop_or_the_work_takes_longer_than_the_limit(
    beat: float, started: float | None, hung: bool
) -> None:
    watchdog, now = Watchdog(), time.monotonic()
    watchdog.last_beat, watchdog.work_started = now + beat, None if started is None else now + started

    assert watchdog.is_hung(now) == hung


def test_many_short_pieces_of_work_are_not_one_long_one() -> None:
    watchdog, began = Watchdog(), list[float | None]()
    for _ in range(2):
        watchdog.run(lambda: began.append(watchdog.work_started))

    assert None not in began
    assert began[0] != began[1]
    assert watchdog.work_started is None
