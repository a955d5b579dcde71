"""Charts of the data set as PNG. Without pyplot, which would keep every figure in memory."""

import io
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = ("#3b6ea5", "#e2a03f")


def _figure(title: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def class_balance(counts: pd.DataFrame) -> bytes:
    """Bars of images per class; `counts` has the columns class, train and test."""
    figure, axes = _figure("Images of each class", "images")
    positions = counts.index.to_numpy()
    for n, split in enumerate(("train", "test")):
        bars = axes.bar(positions + (n - 0.5) * 0.4, counts[split], 0.4, label=split, color=COLOURS[n])
        axes.bar_label(bars, fontsize=7, padding=1)
    axes.set_xticks(positions, counts["class"].tolist(), rotation=0 if counts["class"].str.len().max() < 5 else 30)
    axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.15))
    return _to_png(figure)


def ink_by_class(ink: pd.DataFrame, names: tuple[str, ...]) -> bytes:
    """Box plots of the share of inked pixels per class; `ink` has the columns label and inked_share."""
    figure, axes = _figure("How much of the paper is inked", "share of pixels")
    shares = [group.to_numpy() for _, group in ink.groupby("label")["inked_share"]]
    axes.boxplot(
        shares,
        tick_labels=list(names),
        flierprops={"markersize": 2, "alpha": 0.2},
        medianprops={"color": COLOURS[1]},
        boxprops={"color": COLOURS[0]},
    )
    axes.tick_params(axis="x", rotation=0 if max(map(len, names)) < 5 else 30)
    return _to_png(figure)
