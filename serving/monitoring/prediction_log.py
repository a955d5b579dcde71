"""The prediction log: a line of JSON for each request, in files that are rotated. It holds no picture and no address.

Environment: PREDICTION_LOG, a file, or `-` for standard output; without it there is no log. PREDICTION_LOG_MB: the size
from which on a file is rotated; it and the FILES before it are kept. Several workers may write to one file.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

FILES: Final = 5  # rotated files that are kept, `<name>.1` the latest
MEGABYTES: Final = 10.0
STANDARD_OUTPUT: Final = "-"


class PredictionLog:
    """Appends lines to the file `path`, which is rotated when it has `limit` bytes or more.

    Raises OSError if the file cannot be written.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.append(b"")

    @classmethod
    def configured(cls, environment: Mapping[str, str]) -> "Self | StandardOutput | None":
        """The log that the environment names, if any. Raises ValueError with a sentence, or OSError."""
        name, megabytes = environment.get("PREDICTION_LOG"), environment.get("PREDICTION_LOG_MB", str(MEGABYTES))
        try:
            limit = int(float(megabytes) * 1e6)
        except (OverflowError, ValueError):
            limit = 0
        if limit <= 0:
            raise ValueError(f"PREDICTION_LOG_MB: got {megabytes!r}, expected a number of megabytes, e.g. 10")
        if not name:
            return None
        return StandardOutput() if name == STANDARD_OUTPUT else cls(Path(name), limit)

    def append(self, lines: bytes) -> None:
        """Write whole lines, or none of them, even if the disk is full."""
        with self._locked(), self.path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if file.write(lines) != len(lines):
                    raise OSError(f"{self.path}: only a part of {len(lines)} bytes was written")
            except OSError:
                file.truncate(size)
                raise
            if size + len(lines) >= self.limit:
                self._rotate()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl  # here: Windows has none

        with self.path.with_name(f"{self.path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _rotate(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, FILES + 1))]
        for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
            if newer.exists():
                newer.replace(older)


class StandardOutput:
    """For containers, whose engine collects and rotates what they print."""

    def append(self, lines: bytes) -> None:
        while lines:
            lines = lines[os.write(1, lines) :]


Log = PredictionLog | StandardOutput
