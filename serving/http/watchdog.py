"""Ends a worker process that hangs, so that BentoML's supervisor starts another one."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

LIMIT: Final = 20.0  # seconds; nothing here takes one
EVERY: Final = 1.0  # seconds between two looks

Result = TypeVar("Result")

log = logging.getLogger("serving")


def end() -> None:
    """At once: what hangs would not let a polite end through."""
    os._exit(70)


class Watchdog:
    """Looks from a thread of its own whether the event loop still turns, and whether the work in hand gets done."""

    def __init__(self, limit: float = LIMIT, every: float = EVERY, bite: Callable[[], None] = end) -> None:
        self.limit, self.every, self.bite = limit, every, bite
        self.turned = time.monotonic()
        self.began: float | None = None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch `loop`, until it is closed."""
        threading.Thread(target=self._watch, args=(loop,), daemon=True, name="watchdog").start()

    def working(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work under watch; its result."""
        self.began = time.monotonic()
        try:
            return work()
        finally:
            self.began = None

    def _turn(self) -> None:
        self.turned = time.monotonic()

    def is_hung(self, now: float) -> bool:
        """Whether the loop last turned, or the work in hand began, longer than the limit before `now`."""
        began = self.began
        return now - self.turned > self.limit or (began is not None and now - began > self.limit)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turned = time.monotonic()
        while not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._turn)
            except RuntimeError:  # closed in between
                return
            time.sleep(self.every)
            if self.is_hung(time.monotonic()):
                log.error("this worker has hung for %.0f s; it ends, and another one is started", self.limit)
                self.bite()
                break
