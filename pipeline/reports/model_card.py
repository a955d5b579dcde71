"""The model card: what a model is, how good it is, and its limits (Mitchell et al., "Model cards", 2019)."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.dataset import Description
from pipeline.model.summary import Layer


def model_card(
    description: Description,
    training: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    statistics: Mapping[str, float],
    layers: list[Layer],
    channels: int,
    sha256: str,
) -> str:
    """Markdown, from the outputs of the earlier stages."""
    convolutional = any(layer.kind.startswith("Conv2d") for layer in layers)
    multiplications = sum(layer.multiplications for layer in layers)
    rows = "\n".join(
        f"| {name} | {values['images']:,} | {values['accuracy']:.2%} | {values['loss']:.4f} | {values['f1']:.4f} "
        f"| {values['refused']:.2%} | {values['ece']:.4f} |"
        for name in ("corrections", "handwriting", "test")
        if "images" in (values := scores.get(name, {}))
    )
    classes = ", ".join(description.classes)
    images = (
        "`(N, 28, 28)`, 0 = paper, 255 = ink" if channels == 1 else f"`(N, 28, 28, {channels})`, red, green and blue"
    )
    return f"""# Model card: {description.name}

A {"convolutional" if convolutional else "fully connected"} network that tells {len(description.classes)} classes apart \
in images of 28×28 pixels: {classes}.

* Input `images`: uint8 {images}. The scaling of the pixels is inside the model.
* Output `probabilities`: float32 `(N, {len(description.classes)})`, each row summing to 1: given that the image shows one of the classes.
* Output `digit_scores`: float32 `(N,)`, 0 to 1: how probable it is that it shows one. Below the file's `threshold` it is refused. A confidence is the score times the largest probability.
* {training["parameters"]:,} parameters, {2 * multiplications / 1e6:.2f} MFLOP an image.
* `model.onnx` has the SHA-256 `{sha256}`.

## Data

Data set `{description.name}`: {statistics["train_images"]:,} images trained it, {statistics["validation_images"]:,} chose \
the epoch (number {training["best_epoch"]}, validation accuracy {training["best_validation_accuracy"]:.2%}). The test images \
were scored once, after that, and chose nothing.

## Figures

| pictures | images | accuracy | mean loss | macro F1 | refused | calibration error |
|---|---|---|---|---|---|---|
{rows}

{_own(description, scores)}The calibration error (ECE, 15 bins) is \
the mean distance between the confidence of answers and how many of them are right.

{_robustness(scores)}

## Limits

* It refuses {scores["outliers"]["refused"]:.1%} of {scores["outliers"]["images"]:,} images made to show none of its classes: parts of \
the data set's images put together wrongly, noise{", other characters" if description.is_digits else ""} (AUROC {scores["outliers"]["auroc"]:.4f}). Something else may \
still be answered as one of its classes, and with confidence.
* It reads one {"digit" if description.is_digits else "item"} that fills the image as in the data set: picture files go \
through `pipeline/data/image.py` first.
* The test images come from the same source as the training images. {_elsewhere(description)} before you rely on it.
* A high probability is not a promise: the worst mistakes in `artifacts/score/tables/worst.csv` were made with confidence.
"""


def _own(description: Description, scores: Mapping[str, object]) -> str:
    """What the rows are that `data/` gives."""
    if not description.is_digits:
        return ""
    corrected = "; `corrections` are images that a service read wrongly, by its users and a reviewer"
    return (
        "`handwriting` is what lies in `data/`, brought to 28×28 as the service does it"
        f"{corrected if 'corrections' in scores else ''}. "
    )


def _elsewhere(description: Description) -> str:
    if description.is_digits:
        return "People elsewhere write otherwise (a 1 with a long upstroke, a 7 with a bar): judge it on your own hand in `data/`"
    return "What comes from elsewhere looks otherwise: judge it on pictures of your own"


def _robustness(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """What is made from test images: the slices, if there are any, and the corruptions."""
    corruptions = {name: value for name, value in scores["corruptions"].items() if name != "mean"}
    worst = min(corruptions, key=lambda name: corruptions[name])
    text = (
        f"On images with the fifteen corruptions of MNIST-C (Mu and Gilmer, 2019) the accuracy is "
        f"{scores['corruptions']['mean']:.1%} on average, refused images counted too; the lowest is "
        f"{corruptions[worst]:.1%} ({_words(worst)})."
    )
    if "slices" not in scores:
        return text
    rows = "\n".join(f"| {_words(name)} | {value:.1%} |" for name, value in scores["slices"].items())
    return f"| pictures made from test images | accuracy |\n|---|---|\n{rows}\n\n{text}"


def _words(name: str) -> str:
    return name.replace("_", " ")
