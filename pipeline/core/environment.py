"""pipeline/environment.yaml: the pinned versions of the packages on which results depend, as parameters of DVC.

Each stage in dvc.yaml lists its packages there, so DVC runs it again after an upgrade of one of them, and of no other.
`make lock` writes the file from requirements.lock. Versions that differ between Pythons or platforms are a list with
the lock's markers: the file, and with it dvc.lock, is the same everywhere.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from json import dumps
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker

from pipeline.core import entrypoint
from pipeline.core.errors import DataError
from pipeline.core.files import write_text
from pipeline.core.stage_inputs import DVC_FILE, declared_params, read_stages

PINS_FILE: Final = Path("pipeline/environment.yaml")
LOCK_FILE: Final = Path("requirements.lock")
HEADER: Final = "# Written by `make lock` from requirements.lock, for the packages that stages in dvc.yaml list.\n"

Pin = str | list[str]  # "2.15.0", or ["2.4.6; python_full_version < '3.12'", …]


def listed_packages() -> list[str]:
    """The packages that the stages in dvc.yaml list. Raises DataError if it cannot be read."""
    stages = read_stages(DVC_FILE).values()
    return sorted({package for entry in stages for package in declared_params(entry).get(str(PINS_FILE), [])})


def pins(lock: str, packages: Iterable[str]) -> dict[str, Pin]:
    """What requirements.lock, given as its text, pins for the packages. Raises DataError if it lacks one of them."""
    found: dict[str, list[str]] = {name: [] for name in packages}
    for line in lock.splitlines():
        name, _, pin = line.rstrip(" \\").partition("==")
        if name in found:
            found[name].append(pin.replace(" ; ", "; "))
    if missing := [name for name, versions in found.items() if not versions]:
        raise DataError(f"{LOCK_FILE}: expected versions of {', '.join(missing)}, which {DVC_FILE} lists, got none")
    return {name: versions[0] if len(versions) == 1 else versions for name, versions in found.items()}


def to_yaml(pinned: Mapping[str, Pin]) -> str:
    """One package a line; strings are quoted, since YAML would read 3.10 as a number."""
    return HEADER + "".join(f"{name}: {dumps(pin)}\n" for name, pin in sorted(pinned.items()))


def pinned_version(pin: Pin) -> str | None:
    """The version that a pin has for this Python and platform, None if it has none."""
    for entry in [pin] if isinstance(pin, str) else pin:
        number, _, marker = entry.partition("; ")
        if not marker or Marker(marker).evaluate():
            return number
    return None


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def differences(pinned: Mapping[str, Any]) -> list[str]:
    """A sentence about each package that is not installed in its pinned version: `torch: got 2.14.0, pinned 2.15.0`.

    The suffix of a build, as in 2.15.0+cpu, makes no other version. Raises DataError if a pin is damaged.
    """

    def release(number: str | None) -> str:
        return (number or "none").partition("+")[0]

    try:
        versions = {package: (installed_version(package), pinned_version(pin)) for package, pin in pinned.items()}
    except (TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{PINS_FILE}: expected versions, got: {reason}; `make lock` writes it") from error
    return [
        f"{package}: got {installed or 'none'}, pinned {here or 'none'}"
        for package, (installed, here) in versions.items()
        if release(installed) != release(here)
    ]


def main() -> None:
    try:
        lock = LOCK_FILE.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{LOCK_FILE}: expected the locked versions, got: {error}; `make lock` writes it") from error
    write_text(PINS_FILE, to_yaml(pins(lock, listed_packages())))


if __name__ == "__main__":
    entrypoint.run(main)
