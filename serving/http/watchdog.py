"""Ends a worker process that hangs, so that BentoML's supervisor starts another one."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

LIMIT: Final = 20.0  # seconds; no request takes even one
INTERVAL: Final = 1.0  # seconds between two checks

Result = TypeVar("Result")

log = logging.getLogger("serving")


def exit_at_once() -> None:
    """An orderly exit would wait for what hangs."""
    os._exit(70)


class Watchdog:
    """Checks from a thread of its own that the event loop runs and that the work in a thread ends."""

    def __init__(
        self, limit: float = LIMIT, interval: float = INTERVAL, on_hang: Callable[[], None] = exit_at_once
    ) -> None:
        self.limit, self.interval, self.on_hang = limit, interval, on_hang
        self.last_beat = time.monotonic()
        self.work_started: float | None = None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to watch `loop`, until it is closed."""
        threading.Thread(target=self._watch, args=(loop,), daemon=True, name="watchdog").start()

    def run(self, work: Callable[[], Result]) -> Result:
        """Run `work`, watched, and return its result. One at a time."""
        self.work_started = time.monotonic()
        try:
            return work()
        finally:
            self.work_started = None

    def _beat(self) -> None:
        self.last_beat = time.monotonic()

    def is_hung(self, now: float) -> bool:
        """Whether the loop last ran, or the work in progress started, longer than the limit before `now`."""
        started = self.work_started
        return now - self.last_beat > self.limit or (started is not None and now - started > self.limit)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self.last_beat = time.monotonic()
        while not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._beat)
            except RuntimeError:  # closed in between
                return
            time.sleep(self.interval)
            if self.is_hung(time.monotonic()):
                log.error("this worker has hung for %.0f s; it exits, and another one is started", self.limit)
                self.on_hang()
                break
