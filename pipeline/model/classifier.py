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
    """From images, `(N, 28, 28) uint8, 0 = paper, 255 = ink` or in colour `(N, 28, 28, 3)`, to what they show:
    `(probabilities, scores)`.

    Probabilities `(N, classes) float32` are those of the classes, given that the image shows one of them; scores
    `(N,) float32`, 0 to 1, are the probability that it does. They come from one more output of the network than there
    are classes, that of outliers; a network without it scores each image 1.

    `subtract` and `divide_by` are the mean and the standard deviation that stage `normalise` computed, or 0 and 255.
    Two buffers, saved with the weights, are set by calibration: logits are divided by `temperature`, and an image whose
    score is below `threshold` is taken for an outlier.
    """

    temperature: Tensor
    threshold: Tensor

    def __init__(
        self, network: nn.Sequential, subtract: float, divide_by: float, classes: int, channels: int = 1
    ) -> None:
        super().__init__()
        self.network = network
        self.subtract = subtract
        self.divide_by = divide_by
        self.classes = classes
        self.channels = channels
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("threshold", torch.zeros(()))

    @classmethod
    def from_architecture(cls, architecture: Architecture) -> Self:
        """With random initial weights, drawn from torch's global generator."""
        network, scaling = architecture.build_network(), (architecture.subtract, architecture.divide_by)
        return cls(network, *scaling, architecture.classes, architecture.channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(images) / self.temperature
        probabilities = logits[:, : self.classes].softmax(dim=1)
        return probabilities, 1 - logits.softmax(dim=1)[:, self.classes :].sum(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        return self.logits_from_pixels(to_pixels(images))

    def logits_from_pixels(self, pixels: Tensor) -> Tensor:
        """Logits of pixels `(N, C, 28, 28) float, 0 to 1`: training enters here, after augmentation.

        `(N, classes + 1)`, the last one that of outliers, or `(N, classes)`.
        """
        logits: Tensor = self.network((pixels - self.subtract) / self.divide_by)
        return logits


def to_pixels(images: Tensor) -> Tensor:
    """Images `(N, 28, 28)` or `(N, 28, 28, 3) uint8` as `(N, C, 28, 28) float, 0 to 1`."""
    return (images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)).float() / 255


def to_images(pixels: Tensor) -> Tensor:
    """The inverse, to the nearest of 256 levels."""
    levels = (255 * pixels).round().to(torch.uint8)
    return levels.squeeze(1) if levels.shape[1] == 1 else levels.permute(0, 2, 3, 1)


def save(folder: Path, architecture: Architecture, weights: dict[str, Tensor]) -> None:
    description = to_json(architecture.model_dump(exclude_defaults=True))
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


def predict(classifier: Classifier, images: Tensor, batch: int = 250) -> tuple[Tensor, Tensor]:
    """Probabilities `(N, classes)` and scores `(N,)`, float32, of images `(N, 28, 28[, 3]) uint8`, in batches."""
    fast = copy.deepcopy(classifier).to(memory_format=torch.channels_last)  # a CPU takes a third of the time
    with torch.inference_mode():
        probabilities, scores = zip(*(fast(part) for part in images.split(batch)), strict=True)
    return torch.cat(probabilities), torch.cat(scores)
