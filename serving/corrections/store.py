"""The folder of corrections: `<time>-<random>/` for each, with picture.png, seen.png and correction.json.

Names are the service's own and the pictures are encoded by it, so nothing that a client sent is a file as it is. The
limits are counted in the folder, by the names: workers and pods that share it share the limits.
"""

import contextlib
import logging
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from serving.corrections.settings import DEFAULT_LIMITS, CorrectionLimits
from serving.http.errors import Problem

TIME: Final = "%Y%m%dT%H%M%S.%fZ"  # in names, which sort by it
MINUTE: Final = timedelta(minutes=1)

log = logging.getLogger("serving")


class CorrectionStore:
    """Stores corrections in `folder`, within `limits`."""

    def __init__(self, folder: Path, limits: CorrectionLimits = DEFAULT_LIMITS) -> None:
        self.folder = folder
        self.limits = limits

    def check(self) -> None:
        """Raise Problem if the folder takes no further correction now."""
        with self._disk():
            names = [path.name.lstrip(".") for path in self.folder.iterdir()]
            size = sum(map(size_of, self.folder.glob("*/*")))
        since = (datetime.now(UTC) - MINUTE).strftime(TIME)
        if sum(name > since for name in names) >= self.limits.per_minute:
            text = f"{self.limits.per_minute} corrections were stored in the last minute; try again in a minute"
            raise Problem("too_many_corrections", text)
        if len(names) >= self.limits.number or size >= self.limits.bytes:
            log.warning("%s: %d corrections of %d bytes wait for `make review`: full", self.folder, len(names), size)
            raise Problem("corrections_full", "no more corrections are stored until those that wait have been reviewed")

    def save(self, picture: bytes, seen: bytes, correction: dict[str, Any]) -> str:
        """Store a correction, whole or not at all, and return its name. Raises Problem if it cannot be stored."""
        now = datetime.now(UTC)
        name = f"{now.strftime(TIME)}-{secrets.token_hex(4)}"
        content = correction | {"time": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
        partial = self.folder / f".{name}"
        try:
            with self._disk():
                partial.mkdir(mode=0o700)
                (partial / "picture.png").write_bytes(picture)
                (partial / "seen.png").write_bytes(seen)
                (partial / "correction.json").write_bytes(orjson.dumps(content, option=options) + b"\n")
                partial.rename(self.folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return name

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Log what fails on the disk, and raise Problem."""
        try:
            yield
        except OSError as error:
            log.error("%s: a correction cannot be stored: %s", self.folder, error)
            raise Problem("corrections_full", "the correction cannot be stored; it has been logged") from error


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it has just been reviewed."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
