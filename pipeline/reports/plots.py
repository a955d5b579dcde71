"""Charts as PNG. Without pyplot, which would keep every figure in memory."""

import io
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.calibration import Bin

COLOURS: Final = ("#3b6ea5", "#e2a03f")


def _figure(title: str, ylabel: str, classes: int = 0) -> tuple[Figure, Axes]:
    """`classes`: how many are beside each other; 62 letters and digits need a wider figure than ten."""
    figure = Figure(figsize=(max(8, 0.5 * classes), 3.6), layout="constrained")
    axes = figure.add_subplot()
    style(axes, title)
    axes.set_ylabel(ylabel)
    return figure, axes


def style(axes: Axes, title: str, grid: Literal["both", "x", "y"] = "y") -> None:
    """The look of a chart: its title, no frame, a grid behind what is drawn."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.9")
    axes.set_axisbelow(True)


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def class_balance(counts: pd.DataFrame) -> bytes:
    """Bars of images per class; `counts` has the columns class, train and test."""
    figure, axes = _figure("Images of each class", "images", len(counts))
    positions = counts.index.to_numpy()
    for n, split in enumerate(("train", "test")):
        bars = axes.bar(positions + (n - 0.5) * 0.4, counts[split], 0.4, label=split, color=COLOURS[n])
        axes.bar_label(bars, fontsize=7, padding=1)
    axes.set_xticks(positions, counts["class"].tolist(), rotation=0 if counts["class"].str.len().max() < 5 else 30)
    axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.15))
    return to_png(figure)


def ink_by_class(ink: pd.DataFrame, names: tuple[str, ...]) -> bytes:
    """Box plots of the share of inked pixels per class; `ink` has the columns label and inked_share."""
    figure, axes = _figure("How much of the paper is inked", "share of pixels", len(names))
    shares = [group.to_numpy() for _, group in ink.groupby("label")["inked_share"]]
    axes.boxplot(
        shares,
        tick_labels=list(names),
        flierprops={"markersize": 2, "alpha": 0.2},
        medianprops={"color": COLOURS[1]},
        boxprops={"color": COLOURS[0]},
    )
    axes.tick_params(axis="x", rotation=0 if max(map(len, names)) < 5 else 30)
    return to_png(figure)


def reliability_diagram(bins: Mapping[str, Sequence[Bin]]) -> bytes:
    """Accuracy over confidence, which are equal where a confidence means what it says; by the name of the pictures."""
    figure, axes = _figure("How often an answer of a confidence is right", "accuracy")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="dashed", linewidth=1)
    for colour, (name, parts) in zip(COLOURS, bins.items(), strict=False):
        confidences, accuracies = [part.confidence for part in parts], [part.accuracy for part in parts]
        areas = [20 + 20 * np.log10(part.images) for part in parts]
        axes.plot(confidences, accuracies, color=colour, linewidth=1)
        axes.scatter(confidences, accuracies, areas, color=colour, label=name)
    axes.set_xlabel("confidence; area by the logarithm of the number of images")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="upper left")
    return to_png(figure)


def coverage_curve(curves: Mapping[str, npt.NDArray[np.float64]]) -> bytes:
    """Accuracy over the share that is answered, the most confident answers first; by the name of the pictures."""
    figure, axes = _figure("Accuracy of the most confident answers", "accuracy")
    for colour, (name, accuracies) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(np.arange(1, len(accuracies) + 1) / len(accuracies), accuracies, color=colour, label=name)
    axes.set_xlabel("share of pictures that is answered")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, loc="lower left")
    return to_png(figure)
