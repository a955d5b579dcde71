"""The section `promote` of params.yaml, and the name of the model that params.yaml is about."""

from typing import Annotated

from pydantic import Field

from pipeline.core import config


class Params(config.Section):
    significance: Annotated[float, Field(gt=0, lt=0.5)]
    """Probability with which a test may take chance for a difference. It is that of each test, and of the classes
    together."""
    nll_gain: Annotated[float, Field(ge=0, lt=1)]
    """Share of the champion's mean loss by which a candidate that is no more accurate has to be below it."""
    ece_tolerance: Annotated[float, Field(ge=0, lt=1)]
    """By how much the expected calibration error may be above the champion's."""
    min_accuracy: Annotated[float, Field(ge=0, le=1)]
    """On the validation images."""
    max_refused: Annotated[float, Field(ge=0, le=1)]
    """Share of the validation images that may be refused as no digit."""
    latency_ms: Annotated[float, Field(gt=0)]
    """Milliseconds for one image on one thread, the median."""
    size_mb: Annotated[float, Field(gt=0)]
    """Of the ONNX file, in 10⁶ bytes."""
