"""The model card: what a model is, how good it is, and its limits (Mitchell et al., "Model cards", 2019)."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.dataset import Description
from pipeline.model.summary import Layer


def model_card(
    description: Description,
    training: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, float]],
    statistics: Mapping[str, float],
    layers: list[Layer],
    sha256: str,
) -> str:
    """Markdown, from the outputs of the earlier stages."""
    convolutional = any(layer.kind.startswith("Conv2d") for layer in layers)
    multiplications = sum(layer.multiplications for layer in layers)
    rows = "\n".join(
        f"| {name} | {values['images']:,} | {values['accuracy']:.2%} | {values['loss']:.4f} | {values['f1']:.4f} |"
        for name, values in scores.items()
    )
    classes = ", ".join(description.classes)
    return f"""# Model card: {description.name}

A {"convolutional" if convolutional else "fully connected"} network that tells {len(description.classes)} classes apart \
in images of 28×28 pixels: {classes}.

* Input `images`: uint8 `(N, 28, 28)`, 0 = paper, 255 = ink. The scaling of the pixels is inside the model.
* Output `probabilities`: float32 `(N, {len(description.classes)})`, each row summing to 1.
* {training["parameters"]:,} parameters, {2 * multiplications / 1e6:.2f} MFLOP an image.
* `model.onnx` has the SHA-256 `{sha256}`.

## Data

Data set `{description.name}`: {statistics["train_images"]:,} images trained it, {statistics["validation_images"]:,} chose \
the epoch (number {training["best_epoch"]}, validation accuracy {training["best_validation_accuracy"]:.2%}). The test images \
were scored once, after that, and chose nothing.

## Figures

| pictures | images | accuracy | mean loss | macro F1 |
|---|---|---|---|---|
{rows}

`handwriting` is what lies in `data/`, brought to 28×28 as the service does it.

## Limits

* It always answers with one of its classes, also for a picture of something else. An empty page is caught before it \
gets here; nothing else is.
* It reads one {"digit" if description.is_digits else "item"} that fills the image as in the data set: picture files go \
through `pipeline/data/image.py` first.
* The test images come from the same source as the training images. People elsewhere write otherwise (a 1 with a long \
upstroke, a 7 with a bar): judge it on your own hand in `data/` before you rely on it.
* A high probability is not a promise: the worst mistakes in `artifacts/score/tables/worst.csv` were made with confidence.
"""
