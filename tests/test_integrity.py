"""A model that is not the one its Bento was built with is refused; golden pictures cover all classes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.core.errors import ExportError
from pipeline.data.dataset import Split
from pipeline.export import golden_pictures
from pipeline.model.classifier import Classifier
from pipeline.model.networks import MlpParams, mlp
from serving.integrity import DamagedModelError
from serving.model import Model

TAG = "mnist:v1-0123abcd"


def network() -> Classifier:
    torch.manual_seed(0)
    return Classifier(mlp(MlpParams(hidden=[], activation="none", dropout=0), 11), 0.13, 0.31, 10).eval()


def rewritten(model: Model, path: Path, **changes: str | None) -> Path:
    """A copy of the model's file with other metadata; None removes an entry."""
    proto = onnx.load(model.path)
    metadata = {entry.key: entry.value for entry in proto.metadata_props} | changes
    del proto.metadata_props[:]
    for key, value in metadata.items():
        if value is not None:
            proto.metadata_props.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_anywhere_in_the_file_is_refused(model: Model, tmp_path: Path, share: float) -> None:
    content = bytearray(model.path.read_bytes())
    labels = {"sha256": hashlib.sha256(content).hexdigest()}
    content[int(share * len(content))] ^= 16
    (tmp_path / "model.onnx").write_bytes(content)

    assert Model(model.path, TAG, labels).reproduces_golden()
    with pytest.raises(DamagedModelError, match=r"model\.onnx: got SHA-256 .*, the Bento expects"):
        Model(tmp_path / "model.onnx", TAG, labels)


def test_swapped_class_names_are_refused(model: Model, tmp_path: Path) -> None:
    labels = {"sha256": hashlib.sha256(model.path.read_bytes()).hexdigest()}
    swapped = rewritten(model, tmp_path / "model.onnx", classes=json.dumps([*"1023456789"]))

    assert Model(swapped, TAG).reproduces_golden()  # by the golden pictures alone it would be served
    with pytest.raises(DamagedModelError):
        Model(swapped, TAG, labels)


def test_there_is_a_golden_picture_of_each_class_and_a_wrong_answer_to_any_of_them_counts(digits: Split) -> None:
    golden = golden_pictures(network(), digits, 10, "ink")

    assert len(json.loads(golden["golden_pictures"])) == len(json.loads(golden["golden_probabilities"])) == 10
    assert golden == golden_pictures(network(), digits, 10, "ink")


@pytest.mark.parametrize("label", range(10))
def test_a_model_that_answers_one_class_otherwise_is_not_ready(model: Model, tmp_path: Path, label: int) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(model.path).metadata_props}
    probabilities = json.loads(entries["golden_probabilities"])
    probabilities[label] = probabilities[label][::-1]
    path = rewritten(model, tmp_path / "model.onnx", golden_probabilities=json.dumps(probabilities))

    assert not Model(path, TAG).reproduces_golden()


def test_a_model_with_one_golden_picture_of_an_earlier_export_is_served(model: Model, tmp_path: Path) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(model.path).metadata_props}
    picture, probabilities = (json.loads(entries[f"golden_{name}"])[3] for name in ("pictures", "probabilities"))
    single = {"golden_pictures": None, "golden_picture": picture, "golden_probabilities": json.dumps(probabilities)}
    earlier = onnx.load(rewritten(model, tmp_path / "model.onnx", **single, golden_scores=None))
    del earlier.graph.output[1]
    onnx.save(earlier, tmp_path / "model.onnx")

    assert Model(tmp_path / "model.onnx", TAG).reproduces_golden()


def test_blank_images_are_no_golden_pictures_and_a_class_without_one_is_named(digits: Split) -> None:
    images = digits.images.copy()
    images[digits.labels == 4] = 0
    with pytest.raises(ExportError, match="got 20 validation images of class 4 and none that is not blank"):
        golden_pictures(network(), Split(images, digits.labels), 10, "ink")

    images[np.flatnonzero(digits.labels == 4)[-1]] = digits.images[4]
    golden_pictures(network(), Split(images, digits.labels), 10, "ink")
