"""Stage `export`: the trained network in formats for other runtimes, and a model card.

Reads    artifacts/train/: the network; artifacts/download/: the test images, for the comparison;
         artifacts/normalise/: the validation images, for the golden pictures; the metrics of the earlier stages;
         artifacts/score/reference.json, which becomes part of model.onnx.
Writes   artifacts/export/: model.onnx, model.pt2, weights.safetensors, summary.txt (layers), network.svg,
         model_card.md, manifest.json (SHA-256 of each file).
Decides  whether the exported model equals the trained one: a differing prediction, or a probability that is off by
         more than TOLERANCE, fails the stage before anything is written.
"""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import safetensors.torch
import torch
from PIL import Image
from pydantic import Field
from torch.export import Dim, ExportedProgram

from pipeline.core import config, execution
from pipeline.core.errors import ExportError
from pipeline.core.files import read_json, write_files
from pipeline.data.dataset import Description, Split, channels_of, load_description, load_split
from pipeline.data.image import preprocess
from pipeline.data.limits import SIDE, Preprocessing, image_shape
from pipeline.model import classifier
from pipeline.model.classifier import Classifier
from pipeline.model.summary import Layer, list_layers, summary
from pipeline.monitoring.reference import KEY, parse_reference
from pipeline.reports.model_card import model_card
from pipeline.reports.network_svg import draw
from pipeline.training.device import details, set_threads

RAW: Final = Path("artifacts/download")
NORMALISED: Final = Path("artifacts/normalise")
TRAINED: Final = Path("artifacts/train")
SCORED: Final = Path("artifacts/score")
OUT: Final = Path("artifacts/export")
CLASS_IN_GRAPH: Final = "pipeline.classifier.Classifier"  # fixed: moving its module changes no byte of model.pt2
OUTPUTS: Final = ("probabilities", "digit_scores")
TOLERANCE: Final = 1e-4  # of a probability or a score

Answers = Sequence[npt.NDArray[np.float32]]


class Params(config.Section):
    opset: Annotated[int, Field(ge=18, le=25)]
    """Version of ONNX's operator set; a release of onnxruntime supports all versions up to its latest."""


def trace(network: Classifier) -> ExportedProgram:
    """The network as a graph for any number of images, without the paths of the machine that traced it."""
    images = torch.zeros(2, *image_shape(network.channels), dtype=torch.uint8)
    class_name = f"{Classifier.__module__}.{Classifier.__qualname__}"
    program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: Dim("N")}})
    for node in program.graph.nodes:
        for key in ("stack_trace", "source_fn_stack", "from_node"):  # paths of this machine
            node.meta.pop(key, None)
        stack = node.meta.get("nn_module_stack", {})
        node.meta["nn_module_stack"] = {
            name: (path, CLASS_IN_GRAPH if kind == class_name else kind) for name, (path, kind) in stack.items()
        }
    program.example_inputs = None  # model.pt2 would hold them as a pickle
    return program


def to_pt2(program: ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def golden_pictures(network: Classifier, validation: Split, classes: int, method: Preprocessing) -> dict[str, str]:
    """One picture of each class and the trained network's answer to it, with which a service can verify its model:
    the first validation image of the class that is not blank.

    `golden_pictures` is a JSON list of PNG files in base64, `golden_probabilities` a list of lists, `golden_scores` a
    list of numbers, all in the order of the classes. Raises ExportError if a class has no such image.
    """
    images = [validation.images[validation.labels == label] for label in range(classes)]
    examples = [golden_picture(some, label, method) for label, some in enumerate(images)]
    preprocessed = np.stack([preprocess(picture, method, network.channels).image for picture in examples])
    probabilities, scores = classifier.predict(network, torch.from_numpy(preprocessed))
    return {
        "golden_pictures": json.dumps([base64.b64encode(picture).decode() for picture in examples]),
        "golden_probabilities": json.dumps(probabilities.tolist()),
        "golden_scores": json.dumps(scores.tolist()),
    }


def golden_picture(images: npt.NDArray[np.uint8], label: int, method: Preprocessing) -> bytes:
    """The first of the images `(N, 28, 28[, 3]) uint8` that is not blank, as a PNG file. Raises ExportError."""
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        if preprocess(buffer.getvalue(), method, channels_of(images)).reason is None:
            return buffer.getvalue()
    raise ExportError(
        f"{NORMALISED}: got {len(images)} validation images of class {label} and none that is not blank, expected one"
    )


def to_onnx(program: ExportedProgram, opset: int, metadata: Mapping[str, str]) -> bytes:
    """The graph with input `images` uint8 (N, 28, 28[, 3]) and outputs `probabilities` float32 (N, classes), given that
    an image shows one of the classes, and `digit_scores` float32 (N,), how probable it is that it does.

    `metadata` is stored in the file, for the service. Raises ExportError for an unknown `opset`.
    """
    exported = torch.onnx.export(
        program, input_names=["images"], output_names=list(OUTPUTS), opset_version=opset, verbose=False
    )
    assert exported is not None  # it is None only if a file name is given
    model = exported.model_proto
    if model.opset_import[0].version != opset:
        raise ExportError(
            f"params.yaml: export.opset: got {opset}, expected a version that torch can write; it wrote "
            f"{model.opset_import[0].version}"
        )
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = "N"  # torch names a dynamic dimension itself
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def check_agreement(trained: Answers, exported: Answers, tolerance: float = TOLERANCE) -> float:
    """Largest difference between two answers, `(N, classes)` probabilities and `(N,)` scores.

    Raises ExportError if a prediction differs, or a probability or a score is off by more than `tolerance`.
    """
    differing = int((trained[0].argmax(axis=1) != exported[0].argmax(axis=1)).sum())
    largest = float(np.max([np.abs(one - other).max() for one, other in zip(trained, exported, strict=True)]))
    if differing or not largest <= tolerance:
        raise ExportError(
            f"model.onnx and the trained network disagree: got {differing} differing predictions of "
            f"{len(trained[0])} and a probability or score off by {largest:.2e}, expected none and at most "
            f"{tolerance:.0e}; nothing was exported"
        )
    return largest


def load_reference(path: Path) -> str:
    """The JSON of what `score` compares a service's answers with. Raises DataError if it is not a reference."""
    value = read_json(path)
    parse_reference(value, str(path))
    return json.dumps(value, sort_keys=True)


def card(description: Description, layers: list[Layer], channels: int, sha256: str) -> str:
    """The model card, from the metrics that the earlier stages wrote."""
    training = read_json(TRAINED / "summary.json", "parameters", "best_epoch", "best_validation_accuracy")
    statistics = read_json(NORMALISED / "statistics.json", "train_images", "validation_images")
    scores = read_json(SCORED / "metrics.json", "test", "corruptions", "outliers")
    return model_card(description, training, scores, statistics, layers, channels, sha256)


def main() -> None:
    params = config.load("export", Params)
    set_threads()
    execution.log_details(**details(torch.device("cpu"), "float32"))
    description = load_description(RAW / "dataset.json")
    classes = len(description.classes)
    test, validation = load_split(RAW, "test", classes), load_split(NORMALISED, "validation", classes)
    network = classifier.load(TRAINED / "model")
    program = trace(network)
    metadata = {
        "classes": json.dumps(description.classes),
        "dataset": description.name,
        "preprocessing": description.preprocessing,
        "threshold": str(network.threshold.item()),
        KEY: load_reference(SCORED / "reference.json"),
    }
    metadata |= golden_pictures(network, validation, classes, description.preprocessing)
    onnx_model = to_onnx(program, params.opset, metadata)
    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    exported = session.run(OUTPUTS, {"images": test.images})
    trained = classifier.predict(network, torch.from_numpy(test.images))
    difference = check_agreement([answer.numpy() for answer in trained], exported)
    layers = list_layers(network)
    files = {
        "model.onnx": onnx_model,
        "model.pt2": to_pt2(program),
        "weights.safetensors": safetensors.torch.save(network.state_dict()),
        "summary.txt": summary(layers).encode(),
        "network.svg": draw(network.channels, SIDE, layers).encode(),
        "model_card.md": card(description, layers, test.channels, hashlib.sha256(onnx_model).hexdigest()).encode(),
    }
    write_files(OUT, files)
    print(f"{summary(layers)}model.onnx and the trained network differ by at most {difference:.1e}")


if __name__ == "__main__":
    execution.run_stage("export", main)
