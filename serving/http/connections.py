"""Limits the number of open connections, and the time that each may wait for its client."""

import asyncio
import itertools
import logging
import resource
from collections import Counter
from pathlib import Path
from typing import Final, Protocol

from serving.http import metrics
from serving.http.limits import MAX_CONNECTIONS

INTERVAL: Final = 1.0  # seconds between two checks
RESERVED: Final = 32  # file descriptors for the model, the page's files, and pictures
EVICTED_SHARE: Final = 4  # a quarter of the connections: looking for those that wait longest takes a while

log = logging.getLogger("serving")


class Connection(Protocol):
    """What a connection is asked for here."""

    arrival: int
    """Its number, by which those are ordered that arrived in the same tick of the event loop's clock."""

    def waits_for(self, now: float) -> tuple[str, float] | None:
        """What the client has to do, and for how many seconds it has not; None while the service works for it."""

    def limit_of(self, wait: str) -> float:
        """Seconds that this wait may take."""

    def end(self, wait: str) -> None:
        """Close the connection of a client that took too long."""

    def abort(self) -> None:
        """Close the connection at once."""


class Connections:
    """The open connections of a server, `opened`, to which the server adds them and from which it removes them.

    A timer checks all of them, so a request needs none of its own.
    """

    def __init__(self, opened: set[Connection], max_connections: int) -> None:
        self.opened = opened
        self.max_connections = max_connections
        self.is_checking = False
        self.arrivals = itertools.count(1)
        self.closed: Counter[str] = Counter()  # since the last check, by reason

    def add(self, connection: Connection) -> None:
        """Count a new connection in. At the limit, those whose clients have been waited for longest are closed."""
        connection.arrival = next(self.arrivals)
        if len(self.opened) > self.max_connections:
            self._evict(connection)
        if not self.is_checking:
            self.is_checking = True
            asyncio.get_running_loop().call_later(INTERVAL, self._check)

    def _evict(self, new: Connection) -> None:
        now = asyncio.get_running_loop().time()
        waits = [
            (-wait[1], connection.arrival, connection)
            for connection in self.opened
            if connection is not new and (wait := connection.waits_for(now)) is not None
        ]
        waiting = [connection for *_, connection in sorted(waits, key=lambda wait: wait[:2])]
        for connection in waiting[: self.max_connections // EVICTED_SHARE + 1] or [new]:
            self._count("too many connections")
            self.opened.discard(connection)  # the server does it only when the event loop runs again
            connection.abort()

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.opened):
            wait = connection.waits_for(now)
            if wait is not None and wait[1] > connection.limit_of(wait[0]):
                self._count(f"waited too long for {wait[0]}")
                connection.end(wait[0])
        if self.closed:
            reasons = ", ".join(f"{number} × {reason}" for reason, number in self.closed.items())
            log.warning("closed connections: %s; %d are open", reasons, len(self.opened))
            self.closed.clear()
        self.is_checking = bool(self.opened)
        if self.is_checking:
            loop.call_later(INTERVAL, self._check)

    def _count(self, reason: str) -> None:
        self.closed[reason] += 1
        metrics.CLOSED.labels(reason).inc()


def connection_limit() -> int:
    """MAX_CONNECTIONS, or fewer if the process may not open that many files."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, allowed - len([*Path("/dev/fd").iterdir()]) - RESERVED))
