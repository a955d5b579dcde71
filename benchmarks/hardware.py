"""The machine that figures were measured on."""

import os
import platform
from importlib.metadata import version

from pipeline.core.execution import processor_name


def hardware(*packages: str) -> str:
    """The processor, its cores, Python and the versions of `packages`, in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
