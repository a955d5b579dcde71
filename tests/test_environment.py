"""pipeline/environment.yaml has the pinned versions of the packages on which results depend."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.core.environment import PINS_FILE, Pin, differences, listed_packages, pinned_version, pins, to_yaml
from pipeline.core.errors import DataError
from pipeline.core.files import read_yaml

LOCK = """\
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:00
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:01
numpy-typing==9.0.0 \\
    --hash=sha256:02
torch==2.15.0 \\
    --hash=sha256:03
"""
NUMPY = ["2.4.6; python_full_version < '3.12'", "2.5.5; python_full_version >= '3.12'"]


def test_the_file_has_what_requirements_lock_pins_for_the_packages_that_stages_list() -> None:
    lock = Path("requirements.lock").read_text(encoding="utf-8")

    assert PINS_FILE.read_text(encoding="utf-8") == to_yaml(pins(lock, listed_packages())), "run `make lock`"


def test_every_package_has_a_version_for_this_python_and_platform() -> None:
    assert [name for name, pin in read_yaml(PINS_FILE).items() if pinned_version(pin) is None] == []


def test_pins_are_those_of_the_lock_with_its_markers_where_versions_differ() -> None:
    assert pins(LOCK, ["torch", "numpy"]) == {"torch": "2.15.0", "numpy": NUMPY}


def test_a_listed_package_that_is_not_locked_is_named() -> None:
    with pytest.raises(
        DataError, match=r"^requirements.lock: expected versions of scipy, which dvc.yaml lists, got none"
    ):
        pins(LOCK, ["torch", "scipy"])


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    pinned: dict[str, Pin] = {"torch": "3.10", "numpy": NUMPY}
    path = tmp_path / "environment.yaml"
    path.write_text(to_yaml(pinned))

    assert read_yaml(path) == pinned


def test_of_several_versions_the_one_for_this_python_counts() -> None:
    assert pinned_version("2.15.0") == "2.15.0"
    assert pinned_version(NUMPY) == ("2.4.6" if sys.version_info < (3, 12) else "2.5.5")
    assert pinned_version(["1.0; python_version < '3'"]) is None


def test_an_installed_version_that_is_not_the_pinned_one_is_named() -> None:
    numpy = version("numpy")

    assert differences({"numpy": numpy}) == []
    assert differences({"numpy": f"{numpy}+cpu"}) == []  # another build of the same version
    assert differences({"numpy": "1.0"}) == [f"numpy: got {numpy}, pinned 1.0"]
    assert differences({"no-such-package": "1.0"}) == ["no-such-package: got none, pinned 1.0"]


@pytest.mark.parametrize("pin", [2.15, None, ["2.15.0; no marker"]])
def test_a_damaged_pin_is_named(pin: object) -> None:
    with pytest.raises(
        DataError, match=r"^pipeline/environment.yaml: expected versions, got: .*`make lock` writes it$"
    ):
        differences({"numpy": pin})
