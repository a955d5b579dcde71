"""Stage `eda`: tables, figures and a summary of the data set, before anything is trained on it.

Reads    artifacts/download/: both splits.
Writes   artifacts/eda/: label_counts.csv; tables/: summary.json, ink.csv, duplicates.csv, first_image.csv
         (pixels) and .txt (0 and 1); figures/: mosaic.png, mean_images.png, class_balance.png, ink.png.
Decides  nothing.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from pipeline.core import config, execution
from pipeline.core.files import write_bytes, write_json, write_text
from pipeline.data.dataset import Split, load_description, load_split
from pipeline.reports import plots
from pipeline.reports.contact_sheet import contact_sheet

RAW: Final = Path("artifacts/download")
OUT: Final = Path("artifacts/eda")


class Params(config.Section):
    mosaic_columns: Annotated[int, Field(ge=1, le=50)]
    """Images of each class in the mosaic."""


def to_ink(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`(N, 28, 28)`: of images in colour, how far a pixel is from the corner at the top left, in the channel that
    differs most."""
    if images.ndim == 3:
        return images
    paper = images[:, :1, :1]
    return np.asarray(np.where(images > paper, images - paper, paper - images).max(axis=3))


def label_counts(splits: dict[str, Split], names: tuple[str, ...]) -> pd.DataFrame:
    """Images of each label in each split: label, class, train, test."""
    counts = {name: np.bincount(split.labels, minlength=len(names)) for name, split in splits.items()}
    return pd.DataFrame({"label": range(len(names)), "class": names, **counts})


def measure_ink(split: Split) -> pd.DataFrame:
    """One row per image: label, share of inked pixels, mean ink, and the sides of the ink's bounding box, in pixels."""
    ink = to_ink(split.images)
    inked = ink > 0
    return pd.DataFrame(
        {
            "label": split.labels,
            "inked_share": inked.mean(axis=(1, 2)),
            "mean_ink": ink.mean(axis=(1, 2)),
            "box_height": _extent(inked, axis=2),
            "box_width": _extent(inked, axis=1),
        }
    )


def _extent(inked: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.int64]:
    """Pixels from the first to the last line with ink, lines running along `axis`; 0 if there is no ink."""
    lines = np.asarray(inked.any(axis=axis))
    first, last = lines.argmax(axis=1), lines.shape[1] - lines[:, ::-1].argmax(axis=1)
    return np.where(lines.any(axis=1), last - first, 0)


def find_duplicates(splits: dict[str, Split]) -> pd.DataFrame:
    """Every image that is identical to another one, in either split: group, split, index, label, conflict.

    `conflict`: the images of the group do not all have the same label.
    """
    frames = [
        pd.DataFrame(
            {
                "pixels": [image.tobytes() for image in split.images],
                "split": name,
                "index": range(len(split)),
                "label": split.labels,
            }
        )
        for name, split in splits.items()
    ]
    rows = pd.concat(frames, ignore_index=True)
    repeated = rows[rows.duplicated("pixels", keep=False)].copy()
    groups = repeated.groupby("pixels", sort=False)
    repeated["group"] = groups.ngroup()
    repeated["conflict"] = groups["label"].transform("nunique") > 1
    return repeated[["group", "split", "index", "label", "conflict"]].sort_values(["group", "split", "index"])


def summarise(splits: dict[str, Split], ink: pd.DataFrame, duplicates: pd.DataFrame) -> dict[str, Any]:
    groups = duplicates.groupby("group")
    images = [split.images for split in splits.values()]
    return {
        "shapes": {name: split.images.shape for name, split in splits.items()},
        "lowest_pixel": min(int(array.min()) for array in images),
        "highest_pixel": max(int(array.max()) for array in images),
        "ink": {column: round(float(ink[column].mean()), 6) for column in ink.columns.drop("label")},
        "duplicates": {
            "groups": len(groups),
            "images": len(duplicates),
            "groups_across_splits": int((groups["split"].nunique() > 1).sum()),
            "groups_with_conflicting_labels": int(groups["conflict"].any().sum()),
        },
    }


def mosaic(split: Split, columns: int, classes: int) -> bytes:
    """A PNG with the first images of each class, one row per class."""
    chosen = [np.flatnonzero(split.labels == label)[:columns] for label in range(classes)]
    # The row of a class with fewer images ends in blank paper.
    blank = np.zeros_like(split.images[:1])
    rows = [np.concatenate([split.images[row], blank.repeat(columns - len(row), axis=0)]) for row in chosen]
    return contact_sheet(np.concatenate(rows), [], columns)


def mean_images(split: Split, names: tuple[str, ...]) -> bytes:
    """A PNG with the mean image of each class."""
    means = [split.images[split.labels == label].mean(axis=0) for label in range(len(names))]
    return contact_sheet(np.round(means).astype(np.uint8), names, columns=5)


def to_text(image: npt.NDArray[np.uint8]) -> str:
    """The image as lines of 0, paper, and 1, ink."""
    return "".join("".join("1" if pixel else "0" for pixel in row) + "\n" for row in image)


def save_table(name: str, table: pd.DataFrame) -> None:
    write_text(OUT / name, table.to_csv(index=False, lineterminator="\n"))


def main() -> None:
    params = config.load("eda", Params)
    names = load_description(RAW / "dataset.json").classes
    splits = {name: load_split(RAW, name, len(names)) for name in ("train", "test")}
    train = splits["train"]
    counts, ink, duplicates = label_counts(splits, names), measure_ink(train), find_duplicates(splits)
    per_class = ink.groupby("label").agg(["mean", "std", "min", "max"]).round(6)
    per_class.columns = pd.Index(["_".join(column) for column in per_class.columns])
    save_table("label_counts.csv", counts)
    save_table("tables/ink.csv", per_class.reset_index())
    save_table("tables/duplicates.csv", duplicates)
    first = to_ink(train.images[:1])[0]
    save_table("tables/first_image.csv", pd.DataFrame(first))
    write_text(OUT / "tables" / "first_image.txt", to_text(first))
    write_bytes(OUT / "figures" / "mosaic.png", mosaic(train, params.mosaic_columns, len(names)))
    write_bytes(OUT / "figures" / "mean_images.png", mean_images(train, names))
    write_bytes(OUT / "figures" / "class_balance.png", plots.class_balance(counts))
    write_bytes(OUT / "figures" / "ink.png", plots.ink_by_class(ink, names))
    write_json(OUT / "tables" / "summary.json", summarise(splits, ink, duplicates))
    print(f"first image, of class {names[train.labels[0]]}:\n{to_text(first)}", end="")


if __name__ == "__main__":
    execution.run_stage("eda", main)
