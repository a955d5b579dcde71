"""What `fit` returns: a trained and calibrated classifier with its history."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.arrays import as_images, as_split
from pipeline.model import classifier
from pipeline.model.classifier import Classifier
from pipeline.model.networks import Architecture
from pipeline.training.history import History


class Evaluation(NamedTuple):
    """The mean loss, which is the cross-entropy of the probabilities, and the accuracy from 0 to 1."""

    loss: float
    accuracy: float


@dataclass(frozen=True, repr=False)
class FittedModel:
    """Images are those of `fit`; other ones raise DataError."""

    classifier: Classifier
    """On the CPU, in evaluation mode, with the weights of the best epoch."""
    architecture: Architecture
    classes: tuple[str, ...]
    history: History
    seconds: float
    """Of the training loop."""

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The label of the most probable class of each image."""
        return self._outputs(images)[0].argmax(dim=1).numpy()

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """`(N, classes)`, calibrated: of the classes, given that the image shows one of them."""
        return self._outputs(images)[0].numpy()

    def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """`(N,)`: the probability that the image shows one of the classes; below `classifier.threshold` it is refused
        by the service."""
        return self._outputs(images)[1].numpy()

    def evaluate(self, images: npt.NDArray[np.uint8], labels: npt.ArrayLike) -> Evaluation:
        split = as_split(images, labels, len(self.classes))
        probabilities = self.probabilities(split.images).astype(np.float64)
        true = probabilities[np.arange(len(split)), split.labels]
        loss = -np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean()
        return Evaluation(float(loss), float((probabilities.argmax(axis=1) == split.labels).mean()))

    def save(self, folder: Path) -> None:
        """Write the model as stage `train` does; `pipeline.model.classifier.load` reads it."""
        weights = {name: tensor.contiguous() for name, tensor in self.classifier.state_dict().items()}
        classifier.save(folder, self.architecture, weights)

    def _outputs(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        return classifier.predict(self.classifier, torch.tensor(as_images(images)))

    def __repr__(self) -> str:
        parameters = sum(weight.numel() for weight in self.classifier.parameters())
        best = self.history.best
        return (
            f"{self.architecture.model} with {parameters:,} parameters, trained in {self.seconds:.1f} s; "
            f"epoch {best.epoch} of {len(self.history)} is kept: validation loss {best.validation_loss:.4f}, "
            f"accuracy {best.validation_accuracy:.2%}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.history._repr_html_()}"
