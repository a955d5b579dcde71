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
from pipeline.model.summary import list_layers
from pipeline.reports.contact_sheet import contact_sheet
from pipeline.training.config import TrainParams

SWEEP: Final = "colour"
IMAGES: Final = "colour-images.png"


def megaflop(settings: tuple[str, ...]) -> float:
    """Of an image, in the network of an experiment with these settings."""
    params = run.apply_settings(settings)
    train, channels = TrainParams.model_validate(params["train"]), params["download"]["channels"]
    network = Classifier.from_architecture(train.architecture(len(DIGITS), channels, subtract=0.0, divide_by=1.0))
    return 2 * sum(layer.multiplications for layer in list_layers(network.eval())) / 1e6


def text(results: pd.DataFrame) -> list[str]:
    """Markdown: the cost of each variant; seconds are mean ± standard deviation over data sets and seeds."""
    settings = {each.varied[VARIANT]: each.settings for each in sweep_file.load(SWEEP).experiments}
    lines = ["| variant | parameters | MFLOP an image | seconds |", "|---|---|---|---|"]
    for variant, rows in results.groupby(VARIANT, sort=False):
        seconds = rows["seconds"].astype(float)
        cells = [f"{int(rows['parameters'].iloc[0]):,}", f"{megaflop(settings[str(variant)]):.2f}"]
        lines.append(f"| {' | '.join([f'`{variant}`', *cells, f'{seconds.mean():.0f} ± {seconds.std():.0f}'])} |")
    sheet = f"![digits as they are, in random colours, and in colours of their classes](questions/{IMAGES})"
    return [*lines, "", "Seconds are those of all stages from `download` to `score`.", "", sheet]


def samples() -> bytes:
    """Ten embedded digits as they are, in random colours twice, and twice in colours of their classes, as PNG."""
    _, split = embedded_digits()
    first = split.take(np.array([np.flatnonzero(split.labels == label)[0] for label in range(len(DIGITS))]))
    grey = np.repeat(255 - first.images[..., None], 3, axis=3)  # as on paper
    painted = [
        paint(first, colouring, len(DIGITS), seed).images for colouring in ("random", "class") for seed in (1, 2)
    ]
    return contact_sheet(np.concatenate([grey, *painted]), [], len(DIGITS))
