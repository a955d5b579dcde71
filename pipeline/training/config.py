"""The section `train` of params.yaml: the settings of the training loop, the network and the device."""

from typing import Annotated

from pydantic import Field

from pipeline.core.config import Section
from pipeline.model.networks import Architecture, NetworkParams
from pipeline.training.augmentation import AugmentationParams
from pipeline.training.device import DeviceName, Precision, Threads
from pipeline.training.losses import LossName
from pipeline.training.optimizers import OptimizerParams, ScheduleParams

Share = Annotated[float, Field(ge=0, le=1)]


class TrainConfig(Section):
    optimizer: OptimizerParams
    schedule: ScheduleParams
    augmentation: AugmentationParams
    drawn_digits: Share
    """Digits drawn by strokes that are added to each batch, as a share of it; none if the classes are not digits."""
    outliers: Share
    """Images of no class that are added to each batch, as a share of it; 0: the network takes every image for one of
    the classes."""
    refused: Annotated[float, Field(ge=0, le=0.1)]
    """Share of the validation images that may score too low to be taken for one of the classes."""
    loss: LossName
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of each label's probability that is spread over all classes."""
    averaging: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights that is kept; 0: the trained weights are kept."""
    epochs: Annotated[int, Field(ge=1, le=1000)]
    batch: Annotated[int, Field(ge=2)]
    """Images per step, over all processes."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    precision: Precision
    checkpoint_steps: Annotated[int, Field(ge=1)]
    """Steps between two checkpoints: the most that a killed training run loses."""


class TrainParams(TrainConfig, NetworkParams):
    """All settings of the section."""

    device: DeviceName
    threads: Threads
    """CPU threads."""

    def architecture(self, classes: int, channels: int, subtract: float, divide_by: float) -> Architecture:
        """The network for a data set with this number of classes and channels and this scaling of pixels.

        Raises pydantic's ValidationError if it cannot be scaled so.
        """
        network = self.model_dump(include=set(NetworkParams.model_fields))
        data = {"classes": classes, "channels": channels, "subtract": subtract, "divide_by": divide_by}
        return Architecture.model_validate(network | data | {"outliers": self.outliers > 0})
