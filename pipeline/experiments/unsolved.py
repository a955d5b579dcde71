"""The test images that no training of a sweep answers as they are labelled, and those whose label is doubtful."""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.core.files import read_json, write_bytes, write_text
from pipeline.experiments import sweep, sweep_file
from pipeline.experiments.sweep_file import DATASETS, Experiment
from pipeline.reports.contact_sheet import contact_sheet
from pipeline.tracking.dvc_repository import DvcRepository

SWEEP: Final = "ceiling"
PREDICTIONS: Final = "artifacts/score/predictions.csv"
DOWNLOAD: Final = "artifacts/download"
COLUMNS: Final = 12
SHOWN: Final = 48  # images of each data set


def record(folder: Path) -> None:
    """Write tables and contact sheets, if DVC has all experiments of the sweep on this commit."""
    declared = sweep_file.load(SWEEP)
    commits = sweep.stored(declared)
    if len(commits) < len(declared.experiments):
        return
    tables, counts = [], []
    for dataset in dict.fromkeys(each.varied["download.dataset"] for each in declared.experiments):
        members = [each for each in declared.experiments if each.varied["download.dataset"] == dataset]
        rows, images, names = _unsolved([(each, commits[each.name]) for each in members])
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(names) if name != str(number))
        counts.append({"dataset": dataset, "trainings": len(members), "images": len(images), "classes": classes})
        rows.insert(0, "dataset", dataset)
        tables.append(rows)
        chosen = rows.sort_values("agreed", ascending=False, kind="stable").head(SHOWN)
        captions = [f"{label} as {answer}" for label, answer in zip(chosen["label"], chosen["answer"], strict=True)]
        sheet = contact_sheet(images[chosen["index"].to_numpy()], captions, COLUMNS)
        write_bytes(folder / f"unsolved-{dataset}.png", sheet)
    write_text(folder / "unsolved.csv", pd.concat(tables).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "unsolved-counts.csv", pd.DataFrame(counts).to_csv(index=False, lineterminator="\n"))


def _unsolved(members: list[tuple[Experiment, str]]) -> tuple[pd.DataFrame, npt.NDArray[np.uint8], list[str]]:
    """The images that all of the experiments answer wrongly, all test images, and the names of the classes."""
    answers = []
    for _, commit in members:
        with DvcRepository(Path(), commit) as repository:
            stages = {stage.name: stage for stage in repository.version().stages}
            predictions = repository.file(PREDICTIONS, stages["score"].outs[PREDICTIONS])
            assert predictions is not None, f"{PREDICTIONS} is kept in git"
            table = pd.read_csv(predictions)
            answers.append(table["digit"].to_numpy())
            files = repository.listing(DOWNLOAD, stages["download"].outs[DOWNLOAD]) or {}
            images, labels, description = (
                repository.file(name, files[name])
                for name in (f"{DOWNLOAD}/test_images.npy", f"{DOWNLOAD}/test_labels.npy", f"{DOWNLOAD}/dataset.json")
            )
            assert images, f"{DOWNLOAD} is in DVC's cache"
            assert labels, f"{DOWNLOAD} is in DVC's cache"
            assert description, f"{DOWNLOAD} is in DVC's cache"
            pictures, truth, names = np.load(images), np.load(labels), read_json(description, "classes")["classes"]
    given = np.stack(answers, axis=1)
    wrong = np.flatnonzero((given != truth[:, None]).all(axis=1))
    common = [Counter(row.tolist()).most_common(1)[0] for row in given[wrong]]
    rows = {"index": wrong, "label": truth[wrong], "answer": [a for a, _ in common], "agreed": [n for _, n in common]}
    return pd.DataFrame(rows), pictures, names


def text(folder: Path) -> list[str]:
    """Markdown of what is recorded."""
    rows, counts = pd.read_csv(folder / "unsolved.csv"), pd.read_csv(folder / "unsolved-counts.csv")
    lines = ["| data set | trainings | none is right | all give the same other answer |", "|---|---|---|---|"]
    sheets = []
    for dataset, trainings, images, classes in counts.itertuples(index=False):
        found = rows[rows["dataset"] == dataset]
        agreed = int((found["agreed"] == trainings).sum())
        cells = [DATASETS[dataset], str(trainings), f"{len(found)} of {images:,} images", str(agreed)]
        lines.append(f"| {' | '.join(cells)} |")
        first = f"the first {SHOWN} of them" if len(found) > SHOWN else "all of them"
        legend = f" ({classes})" if isinstance(classes, str) else ""
        sheets += ["", f"{DATASETS[dataset]}, {first}: the label, and as what it is read most often{legend}."]
        sheets += [
            "",
            f"![test images of {DATASETS[dataset]} that no training gets right](questions/unsolved-{dataset}.png)",
        ]
    return [*lines, *sheets]
