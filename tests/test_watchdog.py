"""A worker that hangs is ended; one that works or waits is not."""

import asyncio
import threading
import time
from collections.abc import Callable

from serving.watchdog import Watchdog

LIMIT = 0.3


def bites(trouble: Callable[[Watchdog], None], turning: bool = True) -> bool:
    """Whether the watchdog bites within a second, while `trouble` is done on the loop's thread or aside."""
    bitten = threading.Event()
    watchdog = Watchdog(limit=LIMIT, every=0.05, bite=bitten.set)

    async def main() -> None:
        watchdog.watch(asyncio.get_running_loop())
        if turning:
            await asyncio.to_thread(trouble, watchdog)
        else:
            trouble(watchdog)

    asyncio.run(main())
    return bitten.is_set()


def keep_working(watchdog: Watchdog, seconds: float) -> None:
    watchdog.working(lambda: time.sleep(seconds))


def test_a_loop_that_does_not_turn_is_ended() -> None:
    assert bites(lambda watchdog: time.sleep(1), turning=False)


def test_work_that_does_not_end_is_ended() -> None:
    assert bites(lambda watchdog: keep_working(watchdog, 1))


def test_waiting_is_not_hanging() -> None:
    assert not bites(lambda watchdog: time.sleep(1))


def test_many_short_pieces_of_work_are_not_one_long_one() -> None:
    def many(watchdog: Watchdog) -> None:
        for _ in range(10):
            watchdog.working(lambda: time.sleep(0.1))

    assert not bites(many)
