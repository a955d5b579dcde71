"""`make questions`: a textbook's ten questions, answered from the recorded results of sweeps.

Reads    docs/questions/: questions.yaml and the recorded results; of sweeps that were run here, .cache/sweeps/ and
         DVC's experiments.
Writes   docs/questions.md; docs/questions/: a CSV of each sweep and a figure.
Decides  for each claim of the textbook, whether it holds: by the paired differences over the seeds, at 95 %.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import stats

from pipeline.core import entrypoint
from pipeline.core.config import Section
from pipeline.core.files import read_yaml, write_bytes, write_text
from pipeline.experiments import question_colours, question_figures, sweep_file, unsolved
from pipeline.experiments.sweep import FOLDER as SWEEPS
from pipeline.experiments.sweep_file import DATASETS

FOLDER: Final = Path("docs/questions")
DOCUMENT: Final = Path("docs/questions.md")
CONFIDENCE: Final = 0.95
HEAD: Final = """\
# Ten questions

What a textbook's chapter asks about its first network, and its answers, beside what sweeps of this project say. The
network has 784 pixels, one hidden layer of 256 neurons without an activation, dropout 0.2 and ten classes; it is
trained by Adadelta at a learning rate of 0.1 for five epochs of batches of 600 images (`make textbook`).

`make questions` writes this page from the results in `docs/questions/`. Accuracies are mean ± standard deviation over
the seeds. A claim is compared seed by seed: the difference in percentage points with its 95 % confidence interval, by
Student's t. Both are about other seeds, on the same test images; the standard error of an accuracy of 90 % of 10,000
images is 0.3 points.
"""
METRICS: Final = {"test_accuracy": "test accuracy", "test_f1": "test F1", "handwriting_accuracy": "own handwriting"}


class Claim(Section):
    """What the textbook says of the accuracy of one configuration compared with another."""

    statement: str
    of: dict[str, str]
    to: dict[str, str]
    expected: Literal["higher", "lower", "same"]
    metric: str = "test_accuracy"
    sweep: str | None = None
    """None: the first of the question."""


class Question(Section):
    question: str
    textbook: str
    sweeps: list[str] = Field(default_factory=list)
    claims: list[Claim] = Field(default_factory=list)
    curves: dict[str, str] | None = None
    """The configuration whose losses by epoch are drawn."""
    colours: bool = False
    unsolved: bool = False
    four_digits: bool = False
    remark: str = ""


class Difference(NamedTuple):
    """Mean of paired differences, and half the width of its confidence interval by Student's t."""

    mean: float
    margin: float

    @property
    def direction(self) -> str:
        if abs(self.mean) <= self.margin:
            return "same"
        return "higher" if self.mean > 0 else "lower"


def load() -> list[Question]:
    return [Question.model_validate(entry) for entry in read_yaml(FOLDER / "questions.yaml")]


def read_results(name: str) -> pd.DataFrame:
    """The recorded results of a sweep, a row for each experiment; what differs between them is text."""
    path = FOLDER / f"{name}.csv"
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(path, dtype=dict.fromkeys(varied(columns), str), keep_default_na=False, na_values=[""])


def varied(columns: Iterable[str]) -> list[str]:
    """The columns before the seed."""
    names = list(columns)
    return names[: names.index("seed")]


def select(results: pd.DataFrame, configuration: Mapping[str, str]) -> pd.DataFrame:
    chosen = results
    for key, value in configuration.items():
        chosen = chosen[chosen[key] == value]
    return chosen


def difference(results: pd.DataFrame, claim: Claim) -> Difference:
    """Of the metric of two configurations, seed by seed."""
    of, to = (select(results, each).set_index("seed")[claim.metric] for each in (claim.of, claim.to))
    differences = (of - to).to_numpy(float)
    spread = differences.std(ddof=1) / np.sqrt(len(differences))
    return Difference(
        float(differences.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * spread)
    )


def verdict(results: pd.DataFrame, claim: Claim) -> str:
    """Whether the claim holds on each data set, with the difference in percentage points."""
    parts = []
    for dataset, rows in by_dataset(results):
        if rows[claim.metric].isna().any():  # own handwriting is of digits
            continue
        found = difference(rows, claim)
        holds = "holds" if found.direction == claim.expected else "**does not hold**"
        parts.append(f"on {dataset} it {holds} ({100 * found.mean:+.2f} ± {100 * found.margin:.2f})")
    return f"- {claim.statement} O{'; '.join(parts)[1:]}."


def by_dataset(results: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for dataset, rows in results.groupby("dataset", sort=False):
        yield DATASETS[str(dataset)], rows


def table(results: pd.DataFrame) -> list[str]:
    """Markdown: a row for each configuration, mean ± standard deviation over the seeds in percent."""
    keys = [key for key in varied(results.columns) if key != "dataset"]
    columns = [(dataset, rows, metric) for dataset, rows in by_dataset(results) for metric in METRICS]
    columns = [each for each in columns if each[2] != "handwriting_accuracy" or each[0] == "MNIST"]
    columns = [each for each in columns if not each[1][each[2]].isna().any()]  # own handwriting is of ink alone
    head = [
        *(key.replace("_", " ") for key in keys),
        *(f"{dataset}: {METRICS[metric]}" for dataset, _, metric in columns),
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for values in results[keys].drop_duplicates().itertuples(index=False) if keys else [()]:
        configuration = dict(zip(keys, values, strict=True))
        cells = [spread(select(rows, configuration)[metric].to_numpy(float)) for _, rows, metric in columns]
        lines.append(f"| {' | '.join([*(f'`{value}`' for value in values), *cells])} |")
    return lines


def spread(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> str:
    return f"{100 * values.mean():.2f} ± {100 * values.std(ddof=1):.2f} %"


def declared(name: str) -> str:
    """What was run."""
    sweep = sweep_file.load(name)
    seeds = len({each.seed for each in sweep.experiments})
    configurations = len(sweep.experiments) // seeds
    return f"`make sweep NAME={name}`: {configurations} configurations, {seeds} seeds each."


def four_digits(rows: pd.DataFrame) -> list[str]:
    """Markdown: how often all of four digits were read, as mean ± standard deviation over the seeds."""
    lines = ["| four digits | MNIST's | drawn ones |", "|---|---|---|"]
    for kind, group in rows.groupby("kind", sort=False):
        cells = [spread(part["correct"].to_numpy(float)) for _, part in group.groupby("digits", sort=False)]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    seeds, count = rows["seed"].nunique(), rows["pictures"].iloc[0]
    return [
        *lines,
        "",
        f"`python -m benchmarks.four_digits`: {seeds} seeds of {count} made pictures; all four are right.",
    ]


def section(number: int, question: Question) -> list[str]:
    lines = [f"## {number}. {question.question}", "", f"**The textbook:** {question.textbook}", ""]
    results = {name: read_results(name) for name in question.sweeps}
    if question.claims:
        first = question.sweeps[0]
        lines += [*(verdict(results[claim.sweep or first], claim) for claim in question.claims), ""]
    for name, rows in results.items():
        lines += [*table(rows), "", declared(name), "", f"![{name}](questions/{name}.png)", ""]
    if question.curves:
        lines += [f"![losses by epoch](questions/{question.sweeps[0]}-curves.png)", ""]
    if question.colours:
        lines += [*question_colours.text(results.get(question_colours.SWEEP)), ""]
    if question.unsolved:
        lines += [*unsolved.text(FOLDER), ""]
    if question.four_digits:
        lines += [*four_digits(pd.read_csv(FOLDER / "four_digits.csv")), ""]
    return [*lines, question.remark, ""] if question.remark else lines


def document(questions: list[Question]) -> str:
    sections = [line for number, question in enumerate(questions, 1) for line in section(number, question)]
    return "\n".join([HEAD, *sections]).rstrip() + "\n"


def record(questions: list[Question]) -> None:
    """Copy the complete results of the sweeps that were run here."""
    for name in (name for question in questions for name in question.sweeps):
        for suffix in ("", "-curves"):
            file = SWEEPS / f"{name}{suffix}.csv"
            is_wanted = not suffix or any(q.curves and name in q.sweeps for q in questions)
            if file.exists() and is_wanted and is_complete(name):
                write_text(FOLDER / file.name, file.read_text(encoding="utf-8"))
    unsolved.record(FOLDER)


def is_complete(name: str) -> bool:
    rows = pd.read_csv(SWEEPS / f"{name}.csv")
    return len(rows) == len(sweep_file.load(name).experiments)


def figures(questions: list[Question]) -> Iterator[tuple[str, bytes]]:
    """The figures by file name."""
    for question in questions:
        if question.colours:
            yield question_colours.IMAGES, question_colours.samples()
        for name in question.sweeps:
            yield f"{name}.png", question_figures.accuracies(list(by_dataset(read_results(name))))
        if question.curves:
            name = f"{question.sweeps[0]}-curves"
            chosen = select(read_results(name), question.curves)
            yield f"{name}.png", question_figures.losses(list(by_dataset(chosen)))


def main() -> None:
    questions = load()
    record(questions)
    for name, content in figures(questions):
        write_bytes(FOLDER / name, content)
    write_text(DOCUMENT, document(questions))
    print(f"{DOCUMENT}: {len(questions)} questions")


if __name__ == "__main__":
    entrypoint.run(main)
