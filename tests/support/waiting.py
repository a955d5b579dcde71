"""Wait for a condition: a fixed sleep would be too short on one machine and too long on another."""

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any


def wait_until(
    condition: Callable[[], object],
    process: "Popen[Any] | None" = None,
    log: Path | None = None,
    seconds: float = 300,
) -> None:
    """Poll `condition` until it is true.

    Raises AssertionError, with the text of `log`, if `process` exits first or after `seconds`: many times what the
    condition takes on an idle machine.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        output = log.read_text(encoding="utf-8", errors="replace") if log else ""
        assert process is None or process.poll() is None, f"the process exited with {process.returncode}\n{output}"
        assert time.monotonic() < deadline, f"waited {seconds} s\n{output}"
        time.sleep(0.02)
