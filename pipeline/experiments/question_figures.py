"""Figures of docs/questions.md as PNG, one panel for each data set."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.plots import COLOURS, style, to_png

Panels = Sequence[tuple[str, pd.DataFrame]]  # the name of a data set, and its rows of a sweep's results
WIDTH: Final = 10  # inches
DPI: Final = 90


def accuracies(panels: Panels) -> bytes:
    """The test accuracy of each seed of each configuration."""
    keys = [key for key in panels[0][1].columns[: panels[0][1].columns.get_loc("seed")] if key != "dataset"]
    names = panels[0][1][keys].drop_duplicates().agg(", ".join, axis=1).tolist() if keys else [""]
    figure, axes = _figure(panels, 1.3 + 0.3 * len(names))
    for (_, rows), place in zip(panels, axes, strict=True):
        labels = rows[keys].agg(", ".join, axis=1) if keys else pd.Series("", rows.index)
        for position, name in enumerate(names):
            values = 100 * rows["test_accuracy"][labels == name].astype(float)
            place.scatter(values, [position] * len(values), 18, color=COLOURS[0], alpha=0.6, linewidths=0)
            place.scatter([values.mean()], [position], 120, color=COLOURS[1], marker="|", linewidths=2)
        place.set_xlabel("test accuracy in percent: each seed, and the mean")
        place.set_yticks(range(len(names)), names if place is axes[0] else [""] * len(names))
        place.set_ylim(len(names) - 0.5, -0.5)
    return to_png(figure, DPI)


def losses(panels: Panels) -> bytes:
    """Training and validation loss by epoch, the mean over the seeds."""
    figure, axes = _figure(panels, 3.4)
    for (_, rows), place in zip(panels, axes, strict=True):
        means = rows.astype({"train_loss": float, "validation_loss": float}).groupby("epoch")
        for colour, name in zip(COLOURS, ("train_loss", "validation_loss"), strict=True):
            curve = means[name].mean()
            place.plot(curve.index, curve, color=colour, label=name.replace("_", " "))
        place.set_ylim(0, None)
        place.set_xlabel("epoch")
    axes[0].legend(frameon=False)
    return to_png(figure, DPI)


def _figure(panels: Panels, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = [figure.add_subplot(1, len(panels), number) for number in range(1, len(panels) + 1)]
    for (name, _), place in zip(panels, axes, strict=True):
        style(place, name, "both")
    return figure, axes
