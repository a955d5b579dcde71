"""How well the model of MNIST reads rows of digits; the figures are those of `python -m benchmarks.row_accuracy`."""

from pathlib import Path

import pytest

from benchmarks import row_accuracy
from serving.model import Model
from tests.support.project_clone import Clone


@pytest.mark.parametrize(
    ("kind", "least"), [("alone", 97), ("spaced", 88), ("sizes", 88), ("photo", 85), ("slanted", 80), ("touching", 35)]
)
def test_rows_of_the_test_images_are_read(place: Path, kind: str, least: float) -> None:
    right, _, _ = row_accuracy.measured(
        exported(place), row_accuracy.mnist(place / "artifacts/download", "test"), kind, 0, 60
    )
    assert right >= least


@pytest.mark.parametrize(("kind", "least"), [("alone", 95), ("spaced", 75), ("photo", 75), ("touching", 35)])
def test_rows_in_other_hands_are_read(place: Path, kind: str, least: float) -> None:
    right, _, _ = row_accuracy.measured(exported(place), row_accuracy.pen, kind, 0, 60)
    assert right >= least


def exported(folder: Path) -> Model:
    return Model(folder / "artifacts/export/model.onnx", "mnist:v1-test")


@pytest.fixture(scope="module")
def place(mnist: Clone) -> Path:
    return mnist.folder
