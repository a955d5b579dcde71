"""Check that a server can listen on a loopback port: `python -m serving.port PORT`.

Run before a server is started: if it cannot listen, it prints a traceback; BentoML's has 58 lines.
"""

import errno
import socket
import sys
from typing import Final

HOST: Final = "127.0.0.1"
REASONS: Final = {errno.EADDRINUSE: "is in use by another program", errno.EACCES: "may be used by root only"}
REMEDY: Final = "choose another one with PORT=…"


def problem_with(value: str) -> str | None:
    """Why a server cannot listen on the port `value`, as a sentence; None if it can."""
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= 65535):
        return f"got port {value[:50]!r}, expected a whole number from 1 to 65535: {REMEDY}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, after one has just ended
        try:
            probe.bind((HOST, int(value)))
            probe.listen(1)
        except OSError as error:
            reason = REASONS.get(error.errno or 0, f"cannot be used ({error.strerror})")
            return f"got port {value}, which {reason} on {HOST}, expected a free one: {REMEDY}"
    return None


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("error: expected a port")
    problem = problem_with(sys.argv[1])
    if problem is not None:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
