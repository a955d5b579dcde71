"""How many rows of digits the model trained on MNIST reads correctly, measured as by `benchmarks.row_accuracy`."""

from pathlib import Path

import pytest

from benchmarks.row_accuracy import measure, synthetic
from benchmarks.row_accuracy import mnist as mnist_digits
from serving.model import Model
from tests.support.project_clone import Clone


@pytest.mark.parametrize(
    ("kind", "min_percent"),
    [("alone", 97), ("spaced", 88), ("sizes", 88), ("photo", 85), ("slanted", 80), ("touching", 35)],
)
def test_rows_of_test_images_are_read(folder: Path, kind: str, min_percent: float) -> None:
    correct, _, _ = measure(exported(folder), mnist_digits(folder / "artifacts/download", "test"), kind, 0, 60)
    assert correct >= min_percent


@pytest.mark.parametrize(("kind", "min_percent"), [("alone", 95), ("spaced", 75), ("photo", 75), ("touching", 35)])
def test_rows_of_synthetic_digits_are_read(folder: Path, kind: str, min_percent: float) -> None:
    correct, _, _ = measure(exported(folder), synthetic, kind, 0, 60)
    assert correct >= min_percent


def exported(folder: Path) -> Model:
    return Model(folder / "artifacts/export/model.onnx", "mnist:v1-test")


@pytest.fixture(scope="module")
def folder(mnist: Clone) -> Path:
    return mnist.folder
