"""The networks by name, the textbook's `mlp`, our `cnn`, and `resnet`: scaled pixels `(N, C, 28, 28)` to logits.

All end in logits: cross-entropy includes its own softmax, and `Classifier` adds one for predictions.
"""

from typing import Annotated, Final, Literal

from pydantic import Field
from torch import Tensor, nn

from pipeline.core.config import Section
from pipeline.data.limits import SIDE, Channels

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


class ResnetParams(Section):
    stem: Width
    """Channels of the first convolution."""
    early_pooling: bool
    """Whether the stem's output is pooled: a quarter of the cost of the first group of blocks."""
    widths: Annotated[list[Width], Field(min_length=1, max_length=4)]
    """Channels of each group of blocks; pooling between two groups halves the sides."""
    blocks: Annotated[int, Field(ge=1, le=32)]
    """Residual blocks in each group."""
    dropout: Share


class NetworkParams(Section):
    """The network by name, and the parameters of each."""

    model: Literal["mlp", "cnn", "resnet"]
    mlp: MlpParams
    cnn: CnnParams
    resnet: ResnetParams


class Architecture(NetworkParams):
    """All that is needed to rebuild a classifier, except its weights: architecture.json."""

    channels: Channels = 1
    """Of an image. Written only if it is not 1: those of earlier releases are still read, and written, as they were."""
    classes: Annotated[int, Field(ge=2)]
    outliers: bool
    """Whether one more output stands for images that show none of the classes."""
    subtract: float
    divide_by: Annotated[float, Field(gt=0)]

    def build_network(self) -> nn.Sequential:
        """The network with random initial weights, drawn from torch's global generator."""
        outputs = self.classes + self.outliers
        match self.model:
            case "mlp":
                return mlp(self.mlp, outputs, self.channels)
            case "cnn":
                return cnn(self.cnn, outputs, self.channels)
            case "resnet":
                return resnet(self.resnet, outputs, self.channels)


def mlp(params: MlpParams, outputs: int, channels: int = 1) -> nn.Sequential:
    """Fully connected layers; each hidden one is followed by its activation and dropout."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = channels * SIDE * SIDE
    for width in params.hidden:
        layers.append(nn.Linear(inputs, width))
        if params.activation != "none":
            layers.append(ACTIVATIONS[params.activation]())
        layers.append(nn.Dropout(params.dropout))
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def cnn(params: CnnParams, outputs: int, channels: int = 1) -> nn.Sequential:
    """Five convolutions with batch normalization. The early ones, which have the most pixels, are narrow and unpadded:
    padding would spend arithmetic on the empty margin that MNIST's preprocessing guarantees."""
    early, middle, late = params.widths
    return nn.Sequential(
        *conv_block(channels, early, kernel_size=5, padding=0, pool=True),  # 24×24, then 12×12
        *conv_block(early, middle, kernel_size=3, padding=0),  # 10×10
        *conv_block(middle, middle, kernel_size=3, padding=0, pool=True),  # 8×8, then 4×4
        *conv_block(middle, late, kernel_size=3, padding=1),
        *conv_block(late, late, kernel_size=3, padding=1),
        nn.Flatten(),
        nn.Dropout(params.dropout),
        nn.Linear(4 * 4 * late, outputs),
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


def resnet(params: ResnetParams, outputs: int, channels: int = 1) -> nn.Sequential:
    """A residual network with pre-activation (He et al., "Identity mappings in deep residual networks", 2016).

    Groups of blocks are separated by pooling; the mean over all positions goes to the last layer.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, params.stem, 3, padding=1, bias=False)]
    inputs = params.stem
    for group, width in enumerate(params.widths):
        if group or params.early_pooling:
            layers.append(nn.MaxPool2d(2))
        for _ in range(params.blocks):
            layers.append(ResidualBlock(inputs, width))
            inputs = width
    layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(params.dropout)]
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions whose output is added to the input, which a 1×1 convolution brings to the same width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        activated = self.activation(features)
        # A convolution of the shortcut gets the activated input, an identity the input itself.
        shortcut = features if isinstance(self.shortcut, nn.Identity) else self.shortcut(activated)
        total: Tensor = self.convolutions(activated) + shortcut
        return total
