"""The networks by name, the textbook's `mlp` and our `cnn`: scaled pixels `(N, 1, 28, 28)` to logits `(N, classes)`.

Both end in logits: cross-entropy takes its own softmax, and the exported model gets one of its own.
"""

from typing import Annotated, Final, Literal

from pydantic import Field
from torch import nn

from pipeline.core.config import Section
from pipeline.data.image import SIDE

Width = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["none", "relu", "gelu", "tanh", "sigmoid"]

ACTIVATIONS: Final = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class MlpParams(Section):
    hidden: Annotated[list[Width], Field(max_length=16)]
    """Outputs of each hidden layer, from the pixels on; may be empty."""
    activation: Activation
    dropout: Share


class CnnParams(Section):
    widths: Annotated[list[Width], Field(min_length=3, max_length=3)]
    """Channels at 24×24, at 10×10 and at 4×4 pixels."""
    dropout: Share


def mlp(settings: MlpParams, classes: int) -> nn.Sequential:
    """Fully connected layers; each hidden one is followed by its activation and dropout."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = SIDE * SIDE
    for outputs in settings.hidden:
        layers.append(nn.Linear(inputs, outputs))
        if settings.activation != "none":
            layers.append(ACTIVATIONS[settings.activation]())
        layers.append(nn.Dropout(settings.dropout))
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def cnn(settings: CnnParams, classes: int) -> nn.Sequential:
    """Five convolutions, each normalised over the batch. The early ones, where pixels are many, are narrow and
    unpadded: there the arithmetic would otherwise be spent on the empty margin that MNIST's recipe guarantees."""
    early, middle, late = settings.widths
    return nn.Sequential(
        *convolution(1, early, side=5, padding=0, pool=True),  # 24×24, then 12×12
        *convolution(early, middle, side=3, padding=0),  # 10×10
        *convolution(middle, middle, side=3, padding=0, pool=True),  # 8×8, then 4×4
        *convolution(middle, late, side=3, padding=1),
        *convolution(late, late, side=3, padding=1),
        nn.Flatten(),
        nn.Dropout(settings.dropout),
        nn.Linear(4 * 4 * late, classes),
    )


def convolution(inputs: int, outputs: int, side: int, padding: int, pool: bool = False) -> list[nn.Module]:
    """A convolution with all that follows it. Pooling comes first: what is dropped need not be normalised."""
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    return [
        nn.Conv2d(inputs, outputs, side, padding=padding, bias=False),
        *pooling,
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
