"""Question 6: what three channels cost, and what the coloured images look like."""

from typing import Final

import numpy as np
import pandas as pd

from pipeline.data.colours import paint
from pipeline.data.dataset import DIGITS
from pipeline.download import embedded_digits
from pipeline.experiments import run, sweep_file
from pipeline.experiments.sweep_file import VARIANT
from pipeline.model.classifier import Classifier
from pipeline.model.summary import Layer, list_layers
from pipeline.reports.contact_sheet import contact_sheet
from pipeline.training.config import TrainParams

SWEEP: Final = "colour"
IMAGES: Final = "colour-images.png"


def layers(settings: tuple[str, ...]) -> list[Layer]:
    """Those of the network of an experiment with these settings."""
    params = run.apply_settings(settings)
    train, channels = TrainParams.model_validate(params["train"]), params["download"]["channels"]
    network = Classifier.from_architecture(train.architecture(len(DIGITS), channels, subtract=0.0, divide_by=1.0))
    return list_layers(network.eval())


def text(results: pd.DataFrame | None) -> list[str]:
    """Markdown: the cost of each variant of the sweep. The time is a mean over its results, if there are any."""
    settings = {each.varied[VARIANT]: each.settings for each in sweep_file.load(SWEEP).experiments}
    is_timed = results is not None and "training_cpu_seconds" in results
    head = ["variant", "parameters", "MFLOP an image", *(["CPU seconds of the training"] if is_timed else [])]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for variant, chosen in settings.items():
        parts = layers(chosen)
        flop = 2 * sum(layer.multiplications for layer in parts)
        cells = [f"`{variant}`", f"{sum(layer.parameters for layer in parts):,}", f"{flop / 1e6:.2f}"]
        if results is not None and is_timed:
            cells.append(f"{results['training_cpu_seconds'][results[VARIANT] == variant].astype(float).mean():.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    if is_timed:
        lines += [
            "",
            "The time is that of the stage `train`, the start of torch included, with one thread.",
        ]
    return [
        *lines,
        "",
        f"![digits as they are, in random colours, and in colours of their classes](questions/{IMAGES})",
    ]


def samples() -> bytes:
    """Ten embedded digits as they are, in random colours twice, and twice in colours of their classes, as PNG."""
    _, split = embedded_digits()
    first = split.take(np.array([np.flatnonzero(split.labels == label)[0] for label in range(len(DIGITS))]))
    grey = np.repeat(255 - first.images[..., None], 3, axis=3)  # as on paper
    painted = [
        paint(first, colouring, len(DIGITS), seed).images for colouring in ("random", "class") for seed in (1, 2)
    ]
    return contact_sheet(np.concatenate([grey, *painted]), [], len(DIGITS))
