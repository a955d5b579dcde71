"""The machine that figures were measured on."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path


def hardware(*packages: str) -> str:
    """The processor, its cores, Python and the versions of `packages`, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    processor = match[1] if match else platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
