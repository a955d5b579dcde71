"""A network with the scaling of its input, saved as architecture.json, weights.safetensors and manifest.json."""

import copy
from pathlib import Path
from typing import Self

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.core.errors import DataError
from pipeline.core.files import check_files, read_json, to_json, write_files
from pipeline.model.networks import Architecture


class Classifier(nn.Module):
    """From images `(N, 28, 28) uint8, 0 = paper, 255 = ink` to probabilities `(N, classes) float32`.

    `subtract` and `divide_by` are the mean and the standard deviation that stage `normalise` computed, or 0 and 255.
    """

    def __init__(self, network: nn.Sequential, subtract: float, divide_by: float) -> None:
        super().__init__()
        self.network = network
        self.subtract = subtract
        self.divide_by = divide_by

    @classmethod
    def from_architecture(cls, architecture: Architecture) -> Self:
        """With random initial weights, drawn from torch's global generator."""
        return cls(architecture.build_network(), architecture.subtract, architecture.divide_by)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        return self.logits_from_pixels(images.unsqueeze(1).float() / 255)

    def logits_from_pixels(self, pixels: Tensor) -> Tensor:
        """Logits `(N, classes)` of pixels `(N, 1, 28, 28) float, 0 to 1`: training enters here, after augmentation."""
        logits: Tensor = self.network((pixels - self.subtract) / self.divide_by)
        return logits


def save(folder: Path, architecture: Architecture, weights: dict[str, Tensor]) -> None:
    description = to_json(architecture.model_dump())
    write_files(folder, {"architecture.json": description, "weights.safetensors": safetensors.torch.save(weights)})


def load(folder: Path) -> Classifier:
    """The trained classifier, on the CPU, in evaluation mode. Raises DataError if a file is damaged or they differ."""
    check_files(folder, "architecture.json", "weights.safetensors")
    weights_file = folder / "weights.safetensors"
    try:
        architecture = Architecture.model_validate(read_json(folder / "architecture.json"))
        classifier = Classifier.from_architecture(architecture)
        classifier.load_state_dict(safetensors.torch.load(weights_file.read_bytes()))
    except ValidationError as error:
        raise DataError(f"{folder}/architecture.json: expected an architecture, got: {_one_line(error)}") from error
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(
            f"{weights_file}: expected the weights of architecture.json's network, got: {_one_line(error)}"
        ) from error
    return classifier.eval()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def predict(classifier: Classifier, images: Tensor, batch: int = 250) -> Tensor:
    """Probabilities `(N, classes) float32` of images `(N, 28, 28) uint8`, computed in batches."""
    fast = copy.deepcopy(classifier).to(memory_format=torch.channels_last)  # a CPU takes a third of the time
    with torch.inference_mode():
        return torch.cat([fast(part) for part in images.split(batch)])
