"""Whether and where corrections are stored, and how many: a folder in the environment variable CORRECTIONS.

BentoML's supervisor imports this module, too, so it imports little.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "CORRECTIONS"
NONE: Final = "none"  # the label of what shows no digit
LABELS: Final = (*"0123456789", NONE)


@dataclass(frozen=True)
class CorrectionLimits:
    """What a folder takes. All workers count what is in it, so each may exceed a limit by the one that it stores."""

    number: int = 2000
    """Corrections that wait for their review."""
    bytes: int = 200 * 2**20
    """Of their files."""
    per_minute: int = 30
    """Of all users together: the service keeps no addresses by which it could count those of one."""


DEFAULT_LIMITS: Final = CorrectionLimits()


def corrections_folder() -> Path | None:
    """The folder that is configured, made if it does not exist; None if there is none: corrections are off.

    Raises OSError, with a sentence, if it is not a folder in which this process can write.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return None
    folder = Path(value)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{VARIABLE}={value}: expected a folder, got: {error.strerror}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise OSError(f"{VARIABLE}={value}: expected a folder in which this process can write, got one in which not")
    return folder
