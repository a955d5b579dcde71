"""The exported network: its layers, model card and drawing, and files that predict as the trained network does."""

import io
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from pipeline.core.errors import ExportError
from pipeline.data.dataset import DIGITS, Description, Split
from pipeline.export import CLASS_IN_GRAPH, OUTPUTS, check_agreement, to_onnx, to_pt2, trace
from pipeline.model.classifier import Classifier, predict
from pipeline.model.networks import ACTIVATIONS, CnnParams, MlpParams, cnn, mlp
from pipeline.model.summary import list_layers, summary
from pipeline.reports.model_card import model_card
from pipeline.reports.network_svg import draw

OPSET = 20
TEXTBOOK = MlpParams(hidden=[256], activation="none", dropout=0.2)
SMALL = CnnParams(widths=[4, 8, 8], dropout=0.1)
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]], np.float32)


class Exported(NamedTuple):
    network: Classifier
    onnx: bytes
    pt2: bytes


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(cnn(SMALL, 11), subtract=0.13, divide_by=0.31, classes=10).eval()


def export(network: Classifier) -> Exported:
    program = trace(network)
    return Exported(network, to_onnx(program, OPSET, {"dataset": "mnist"}), to_pt2(program))


@pytest.fixture(scope="module")
def exported() -> Exported:
    return export(classifier())


def test_the_textbooks_network_has_the_textbooks_number_of_parameters() -> None:
    layers = list_layers(Classifier(mlp(TEXTBOOK, 10), 0, 1, 10).eval())
    assert [layer.kind for layer in layers] == ["Flatten", "Linear", "Dropout 0.2", "Linear"]
    assert [layer.output for layer in layers] == [(784,), (256,), (256,), (10,)]
    assert sum(layer.parameters for layer in layers) == 203_530
    assert sum(layer.multiplications for layer in layers) == 784 * 256 + 256 * 10


def test_the_list_layers_a_convolutional_network_are_counted_one_by_one() -> None:
    layers = list_layers(classifier())
    assert layers[:2] == [("Conv2d 5×5", (4, 24, 24), 4 * 25, 4 * 24**2 * 25), ("MaxPool2d 2×2", (4, 12, 12), 0, 0)]
    assert layers[2:5:2] == [("BatchNorm2d", (4, 12, 12), 8, 0), ("Conv2d 3×3", (8, 10, 10), 288, 8 * 10**2 * 36)]
    assert layers[-2:] == [("Dropout 0.1", (128,), 0, 0), ("Linear", (11,), 1419, 1408)]
    assert sum(layer.parameters for layer in layers) == sum(part.numel() for part in classifier().parameters())


def test_the_summary_has_a_line_per_layer_and_the_totals() -> None:
    header, *rows, total = summary(list_layers(Classifier(mlp(TEXTBOOK, 10), 0, 1, 10).eval())).splitlines()
    assert header.split() == ["layer", "output", "parameters", "multiplications"]
    assert rows[1].split() == ["Linear", "256", "200,960", "200,704"]
    assert len(rows) == 4
    assert total.split() == ["total", "203,530", "203,264"]


@pytest.mark.parametrize("activation", ["none", *ACTIVATIONS])
def test_a_network_is_linear_without_an_activation_and_nonlinear_with_one(activation: str) -> None:
    torch.manual_seed(0)
    network = mlp(MlpParams.model_validate({"hidden": [32, 16], "activation": activation, "dropout": 0.5}), 10).eval()
    one, other = torch.rand(2, 7, 1, 28, 28)
    separately = network(one) + network(other) - network(torch.zeros(1, 1, 28, 28))
    assert torch.allclose(network(one + other), separately, atol=1e-5) == (activation == "none")


@pytest.mark.parametrize(("count", "classes"), [(1, 10), (3, 2), (2, 47)])
def test_networks_give_a_logit_for_each_image_and_class(count: int, classes: int) -> None:
    pixels = torch.rand(count, 1, 28, 28)
    assert cnn(SMALL, classes).eval()(pixels).shape == (count, classes)
    assert mlp(MlpParams(hidden=[], activation="none", dropout=0), classes)(pixels).shape == (count, classes)


def test_the_scaling_of_the_pixels_is_inside_the_classifier() -> None:
    network = Classifier(torch.nn.Sequential(torch.nn.Flatten()), subtract=0.25, divide_by=0.5, classes=784)
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat_interleave(784).view(3, 28, 28)
    assert network.logits(images)[:, 0].tolist() == pytest.approx([-0.5, -0.1, 1.5])


@pytest.mark.parametrize("count", [0, 1, 200])
def test_predicting_in_batches_equals_predicting_at_once(digits: Split, count: int) -> None:
    network, images = classifier(), torch.from_numpy(digits.images[:count])
    in_batches, at_once = predict(network, images, batch=64), predict(network, images, batch=1000)
    assert [answer.shape for answer in in_batches] == [(count, 10), (count,)]
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(in_batches, at_once, strict=True))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_torch_pt2_and_onnxruntime_agree_on_any_number_of_images(exported: Exported, digits: Split, count: int) -> None:
    images = digits.images[:count]
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    probabilities, scores = answers = session.run(OUTPUTS, {"images": images})
    assert (probabilities.shape, probabilities.dtype) == ((count, 10), np.float32)
    assert (scores.shape, scores.dtype) == ((count,), np.float32)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert ((scores > 0) & (scores < 1)).all()
    trained = [answer.numpy() for answer in predict(exported.network, torch.from_numpy(images))]
    assert check_agreement(trained, answers) < 1e-5
    with torch.inference_mode():
        loaded = torch.export.load(io.BytesIO(exported.pt2)).module()(torch.from_numpy(images))
    assert all(np.allclose(one.numpy(), other, atol=1e-6) for one, other in zip(loaded, trained, strict=True))


def test_the_onnx_model_declares_its_input_and_output(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    (images,), (probabilities, scores) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [28, 28])
    assert (probabilities.name, probabilities.type, probabilities.shape[1:]) == ("probabilities", "tensor(float)", [10])
    assert (scores.name, scores.type) == ("digit_scores", "tensor(float)")
    assert images.shape[0] == probabilities.shape[0] == scores.shape[0]  # one name for the dynamic dimension
    assert isinstance(images.shape[0], str)


def test_the_same_network_gives_the_same_bytes_and_another_one_others(exported: Exported) -> None:
    again, other = export(classifier()), trace(classifier(seed=1))
    assert (again.onnx, again.pt2) == (exported.onnx, exported.pt2)
    assert to_pt2(other) != exported.pt2
    assert to_onnx(other, OPSET, {}) != exported.onnx


def test_the_files_hold_no_path_of_the_machine_that_made_them(exported: Exported) -> None:
    for place in (str(Path(__file__).parent.parent), sys.prefix, sys.base_prefix, str(Path.home()), "site-packages"):
        assert place.encode() not in exported.onnx
        assert place.encode() not in exported.pt2


def test_the_bytes_do_not_depend_on_the_module_that_defines_the_network(exported: Exported) -> None:
    name = f"{Classifier.__module__}.{Classifier.__qualname__}"

    assert name != CLASS_IN_GRAPH
    assert CLASS_IN_GRAPH.encode() in exported.pt2
    assert name.encode() not in exported.pt2


def members(content: bytes) -> dict[str, bytes]:
    """The files in a ZIP archive, by name, including those of nested archives."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    inner = [members(part) for part in found.values() if zipfile.is_zipfile(io.BytesIO(part))]
    return found | {name: part for parts in inner for name, part in parts.items()}


def test_there_is_no_pickle_in_the_pt2_file(exported: Exported) -> None:
    parts = members(exported.pt2)

    assert any(name.endswith("model.json") for name in parts)
    assert not [name for name, part in parts.items() if name.endswith(".pkl") or part.startswith(b"\x80\x02")]


def test_the_largest_difference_of_models_that_agree_is_returned() -> None:
    assert check_agreement([PROBABILITIES], [PROBABILITIES + np.float32(5e-5)]) == pytest.approx(5e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (np.array([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]], np.float32), "1 differing predictions of 2"),
        (
            PROBABILITIES + np.array([2e-4, 0, 0], np.float32),
            "0 differing predictions of 2 and a probability or score off by 2.00e-04",
        ),
        (
            np.where(PROBABILITIES[0, 0] == PROBABILITIES, np.float32(np.nan), PROBABILITIES),
            "0 differing predictions of 2 and .* off by nan",
        ),
        (np.full_like(PROBABILITIES, np.nan), "off by nan"),
    ],
)
def test_models_that_disagree_are_not_exported(exported: npt.NDArray[np.float32], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        check_agreement([PROBABILITIES], [exported])


@pytest.mark.parametrize("network", [cnn(SMALL, 10), mlp(TEXTBOOK, 10)])
def test_the_drawing_is_well_formed_and_has_a_slab_per_layer(network: torch.nn.Sequential) -> None:
    layers = list_layers(Classifier(network, 0, 1, 10).eval())
    svg = ElementTree.fromstring(draw(1, 28, layers))
    slabs = [rectangle for rectangle in svg.iter("{http://www.w3.org/2000/svg}rect") if rectangle.get("x")]
    shapes = [layer for layer in layers if layer.kind.startswith(("Conv2d", "MaxPool2d", "Flatten", "Linear"))]
    assert len(slabs) == 1 + len(shapes)
    assert "1×28×28" in {text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")}


def test_the_card_quotes_the_metrics_and_the_sha256_of_the_file() -> None:
    training = {"parameters": 203_530, "best_epoch": 12, "best_validation_accuracy": 0.9912}
    test = {"images": 10_000, "accuracy": 0.98765, "loss": 0.04321, "f1": 0.98701, "refused": 0.0021, "ece": 0.0123}
    made = {"corruptions": {"mean": 0.8765, "fog": 0.5}, "outliers": {"images": 900, "refused": 0.943, "auroc": 0.9}}
    scores = {"test": test, **made, "slices": {"pen_thin": 0.9321}}
    counts = {"train_images": 55_000, "validation_images": 5_000}
    layers = list_layers(Classifier(mlp(TEXTBOOK, 10), 0, 1, 10).eval())
    card = model_card(Description("mnist", DIGITS, {}), training, scores, counts, layers, 1, "c0ffee")
    assert "| test | 10,000 | 98.77% | 0.0432 | 0.9870 | 0.21% | 0.0123 |" in card
    assert "| pen thin | 93.2% |" in card
    assert "94.3% of 900 images" in card
    assert "87.6% on average" in card
    for text in ("fully connected", "203,530 parameters", "0.41 MFLOP", "number 12", "99.12%", "55,000", "c0ffee"):
        assert text in card
