"""The networks by name, the textbook's `mlp` and our `cnn`: scaled pixels `(N, 1, 28, 28)` to logits `(N, classes)`.

Both end in logits: cross-entropy includes its own softmax, and `Classifier` adds one for predictions.
"""

from typing import Annotated, Final, Literal

from pydantic import Field
from torch import nn

from pipeline.core.config import Section
from pipeline.data.limits import SIDE

Width = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["none", "relu", "gelu", "tanh", "sigmoid"]

ACTIVATIONS: Final = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class MlpParams(Section):
    hidden: Annotated[list[Width], Field(max_length=16)]
    """Width of each hidden layer, from input to output; may be empty."""
    activation: Activation
    dropout: Share


class CnnParams(Section):
    widths: Annotated[list[Width], Field(min_length=3, max_length=3)]
    """Channels at 24×24, at 10×10 and at 4×4 pixels."""
    dropout: Share


class Architecture(Section):
    """All that is needed to rebuild a classifier, except its weights: architecture.json."""

    model: Literal["mlp", "cnn"]
    mlp: MlpParams
    cnn: CnnParams
    classes: Annotated[int, Field(ge=2)]
    subtract: float
    divide_by: Annotated[float, Field(gt=0)]

    def build_network(self) -> nn.Sequential:
        """The network with random initial weights, drawn from torch's global generator."""
        return mlp(self.mlp, self.classes) if self.model == "mlp" else cnn(self.cnn, self.classes)


def mlp(params: MlpParams, classes: int) -> nn.Sequential:
    """Fully connected layers; each hidden one is followed by its activation and dropout."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = SIDE * SIDE
    for outputs in params.hidden:
        layers.append(nn.Linear(inputs, outputs))
        if params.activation != "none":
            layers.append(ACTIVATIONS[params.activation]())
        layers.append(nn.Dropout(params.dropout))
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def cnn(params: CnnParams, classes: int) -> nn.Sequential:
    """Five convolutions with batch normalization. The early ones, which have the most pixels, are narrow and unpadded:
    padding would spend arithmetic on the empty margin that MNIST's preprocessing guarantees."""
    early, middle, late = params.widths
    return nn.Sequential(
        *conv_block(1, early, kernel_size=5, padding=0, pool=True),  # 24×24, then 12×12
        *conv_block(early, middle, kernel_size=3, padding=0),  # 10×10
        *conv_block(middle, middle, kernel_size=3, padding=0, pool=True),  # 8×8, then 4×4
        *conv_block(middle, late, kernel_size=3, padding=1),
        *conv_block(late, late, kernel_size=3, padding=1),
        nn.Flatten(),
        nn.Dropout(params.dropout),
        nn.Linear(4 * 4 * late, classes),
    )


def conv_block(inputs: int, outputs: int, kernel_size: int, padding: int, pool: bool = False) -> list[nn.Module]:
    """Convolution, max pooling if `pool`, batch normalization, ReLU. Pooling comes first: the others then cost less."""
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    return [
        nn.Conv2d(inputs, outputs, kernel_size, padding=padding, bias=False),
        *pooling,
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
