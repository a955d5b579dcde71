"""The history of a training run, epoch by epoch, as a table and as a plot."""

import base64
import io
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.training.state import EpochRow

COLOURS: Final = {"train": "#3b6ea5", "validation": "#e2a03f"}
TITLES: Final = [name.replace("_", " ") for name in EpochRow._fields]


class Plot(Figure):
    """A matplotlib figure that a notebook shows even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
        return buffer.getvalue()


class History(tuple[EpochRow, ...]):
    """A row for each epoch; in a notebook, a table and the curves."""

    __slots__ = ()

    @property
    def best(self) -> EpochRow:
        """The epoch whose weights are kept: the one with the lowest validation loss."""
        return min(self, key=lambda row: row.validation_loss)

    def plot(self) -> Plot:
        """Loss and accuracy over the epochs. The training images are augmented, so their loss may be the higher one."""
        figure = Plot(figsize=(9, 3.2), layout="constrained")
        epochs = [row.epoch for row in self]
        for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for split, colour in COLOURS.items():
                values = [getattr(row, f"{split}_{quantity}") for row in self]
                axes.plot(epochs, values, "o-", color=colour, label=split, markersize=3)
            axes.axvline(self.best.epoch, color="0.8", linestyle="dashed", linewidth=1, label="kept", zorder=0)
            axes.set_title(quantity, loc="left", fontweight="bold")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        return figure

    def __repr__(self) -> str:
        lines = [TITLES, *map(_cells, self)]
        return "\n".join(
            "  ".join(f"{cell:>{len(title)}}" for cell, title in zip(line, TITLES, strict=True)) for line in lines
        )

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str, style: str = "") -> str:
            return f"<tr{style}>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"

        bold = ' style="font-weight: bold"'
        rows = "".join(line(_cells(row), "td", bold if row is self.best else "") for row in self)
        png = base64.b64encode(self.plot()._repr_png_()).decode()
        image = f'<img alt="loss and accuracy of each epoch" src="data:image/png;base64,{png}">'
        return f"<table>{line(TITLES, 'th')}{rows}</table>{image}"


def _cells(row: EpochRow) -> list[str]:
    values = row._asdict()
    epoch = values.pop("epoch")
    return [str(epoch), *(f"{value:.2%}" if "accuracy" in name else f"{value:.4f}" for name, value in values.items())]
