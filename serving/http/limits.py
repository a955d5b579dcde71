"""The limits on requests and connections. `limits_middleware` enforces those on bodies and on the number of requests,
`uvicorn_protocol` and `connections` those on connections and on time, `parsing` those on what a body holds. The limits
on pictures are in `pipeline.data.limits`, those on rows of digits in `serving.rows.limits`."""

from dataclasses import dataclass
from typing import Final

MAX_BODY: Final = 10 * 2**20  # bytes; a phone's photo has 3 to 8 million
MAX_BATCH: Final = 4096  # images
MAX_JSON: Final = 2 * 2**20  # bytes; a list of lists takes thirty times its length in memory
MAX_HEAD: Final = 2**16  # bytes of a request before its body; browsers send a thousand
MAX_FRAMING: Final = 2**20  # bytes of a body's chunk sizes and extensions; 10 MB in chunks of 100 bytes have 600,000
MAX_PIPELINED: Final = 32  # requests on one connection behind the one that is answered
MAX_CONNECTIONS: Final = 256  # or as many as the limit on file descriptors allows
HEAD_SECONDS: Final = 10.0  # for a head to arrive
BODY_SECONDS: Final = 5.0  # for a body to arrive after its head; a service that shuts down waits for it
SEND_SECONDS: Final = 30.0  # for a client to read a response; the largest has 1.4 MB
LINGER_BYTES: Final = 64 * 2**20  # discarded of a request that has been answered; six times the limit of a body
LINGER_SECONDS: Final = 30.0  # for all of them; like nginx's lingering_time
LINGER_IDLE: Final = 5.0  # without a byte; like nginx's lingering_timeout


@dataclass(frozen=True)
class Limits:
    """What one worker accepts."""

    requests: int = 32
    """Requests with a whole body that wait for their answer; more would only wait for the one processor core."""
    body: int = MAX_BODY
    """Bytes of a body."""
    bodies: int = 3 * MAX_BODY
    """Bytes of the bodies of all requests; with a large picture being decoded they fill 400 MB."""


DEFAULT_LIMITS: Final = Limits()
