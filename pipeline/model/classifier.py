"""A network with the scaling that it was trained on, kept as architecture.json and weights.safetensors."""

import copy
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from pipeline.core.config import Section
from pipeline.core.errors import DataError
from pipeline.core.files import read_json, write_bytes, write_json
from pipeline.model.networks import CnnParams, MlpParams, cnn, mlp


class Architecture(Section):
    """All that is needed to build the network again, weights aside."""

    model: Literal["mlp", "cnn"]
    mlp: MlpParams
    cnn: CnnParams
    classes: Annotated[int, Field(ge=2)]
    subtract: float
    divide_by: Annotated[float, Field(gt=0)]

    def build(self) -> "Classifier":
        """The classifier with fresh random weights, from torch's global generator."""
        network = mlp(self.mlp, self.classes) if self.model == "mlp" else cnn(self.cnn, self.classes)
        return Classifier(network, self.subtract, self.divide_by)


class Classifier(nn.Module):
    """From images `(N, 28, 28) uint8, 0 = paper, 255 = ink` to probabilities `(N, classes) float32`."""

    def __init__(self, network: nn.Sequential, subtract: float, divide_by: float) -> None:
        super().__init__()
        self.network = network
        self.subtract = subtract
        self.divide_by = divide_by

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        return self.of_pixels(images.unsqueeze(1).float() / 255)

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Logits `(N, classes)` of pixels `(N, 1, 28, 28) float, 0 to 1`: where training comes in, after augmenting."""
        logits: Tensor = self.network((pixels - self.subtract) / self.divide_by)
        return logits


def save(folder: Path, architecture: Architecture, weights: dict[str, Tensor]) -> None:
    write_json(folder / "architecture.json", architecture.model_dump())
    write_bytes(folder / "weights.safetensors", safetensors.torch.save(weights))


def load(folder: Path) -> Classifier:
    """The trained classifier, on the CPU and set to predict. Raises DataError when the files do not fit each other."""
    weights_file = folder / "weights.safetensors"
    try:
        classifier = Architecture.model_validate(read_json(folder / "architecture.json")).build()
        classifier.load_state_dict(safetensors.torch.load(weights_file.read_bytes()))
    except ValidationError as error:
        raise DataError(f"{folder}/architecture.json: expected an architecture, got: {_line(error)}") from error
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(
            f"{weights_file}: expected the weights of architecture.json's network, got: {_line(error)}"
        ) from error
    return classifier.eval()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def predict(classifier: Classifier, images: Tensor, batch: int = 250) -> Tensor:
    """Probabilities `(N, classes) float32` of images `(N, 28, 28) uint8`, a bounded number at a time."""
    quick = copy.deepcopy(classifier).to(memory_format=torch.channels_last)  # a CPU takes a third of the time
    with torch.inference_mode():
        return torch.cat([quick(part) for part in images.split(batch)])
