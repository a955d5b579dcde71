"""The limits on requests. `limits_middleware` enforces those on bodies, time and number, `parsing` those on what a body
holds. The limits on pictures are in `pipeline.data.limits`, those on rows of digits in `serving.rows.limits`."""

from dataclasses import dataclass
from typing import Final

MAX_BODY: Final = 10 * 2**20  # bytes; a phone's photo has 3 to 8 million
MAX_BATCH: Final = 4096  # images
MAX_JSON: Final = 2 * 2**20  # bytes; a list of lists takes thirty times its length in memory


@dataclass(frozen=True)
class Limits:
    """What one worker accepts."""

    requests: int = 32
    """Requests that are read or answered at a time; more would only wait for the one processor core."""
    body: int = MAX_BODY
    """Bytes of a body."""
    bodies: int = 3 * MAX_BODY
    """Bytes of the bodies of all requests; with a large picture being decoded they fill 512 MB."""
    body_seconds: float = 5.0
    """Seconds for a body to arrive; a service that shuts down waits for it."""


DEFAULT_LIMITS: Final = Limits()
