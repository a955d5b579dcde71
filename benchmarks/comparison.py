"""Training runs compared: a table, their goals, a plot."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from matplotlib.figure import Figure

THRESHOLDS: Final = (0.99, 0.992, 0.995)
GOALS: Final = {"fastest": 0.99, "fast": 0.992, "default": 0.996, "best": 0.9975, "fashion": 0.95}  # on test images
SOONER: Final = 25  # times sooner than the baseline reaches the goal of `fastest`
FASTER: Final = 50  # times faster than the baseline's whole training: goal of `fast`
Curve = Sequence[tuple[float, float]]  # seconds, accuracy


class Result(NamedTuple):
    """One training run: its seconds, its accuracy after each epoch on the validation images (for the baseline, which
    trains on these too, on the test images), and its final accuracies, NaN if a data set has no such pictures."""

    seconds: float
    curve: Curve
    test: float
    own: float = float("nan")
    drawn: float = float("nan")


def time_to(curve: Curve, accuracy: float) -> float:
    """Seconds until the end of the first epoch with at least this accuracy; infinite if there is none."""
    return next((seconds for seconds, score in curve if score >= accuracy), float("inf"))


def row(name: str, results: Sequence[Result], whole: float | None) -> str:
    tests = [100 * result.test for result in results]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    medians = (statistics.median(time_to(result.curve, accuracy) for result in results) for accuracy in THRESHOLDS)
    times = " | ".join("–" if median == float("inf") else f"{median:.1f}" for median in medians)
    seconds = statistics.median(result.seconds for result in results)
    own = statistics.fmean(result.own for result in results)
    drawn = statistics.fmean(result.drawn for result in results)
    pictures = " | ".join("–" if share != share else f"{100 * share:.1f}" for share in (own, drawn))
    return (
        f"| {name} | {len(tests)} | {statistics.fmean(tests):.3f} ± {spread:.3f} | {min(tests):.2f} "
        f"| {pictures} | {seconds:.1f} | {'–' if whole is None else f'{whole:.0f}'} | {times} |"
    )


def table(results: Mapping[str, Sequence[Result]], whole: Mapping[str, float]) -> str:
    times = " | ".join(f"s to {accuracy:.1%}" for accuracy in THRESHOLDS)
    head = f"| profile | seeds | test accuracy, % | worst | `data/`, % | drawn, % | s | `dvc repro`, s | {times} |"
    rows = (row(name, runs, whole.get(name)) for name, runs in results.items())
    return "\n".join([head, "|" + 11 * "---|", *rows])


def goals(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """A sentence for each profile with a goal: the goal and the result."""
    lines = []
    baseline = results.get("baseline", [])
    to_goal = [time_to(result.curve, GOALS["fastest"]) for result in baseline]
    first = statistics.median(to_goal) if baseline else float("inf")
    full = statistics.median(result.seconds for result in baseline) if baseline else float("inf")
    for name, runs in results.items():
        if name in GOALS:
            mean = statistics.fmean(result.test for result in runs)
            seconds = statistics.median(result.seconds for result in runs)
            lines.append(f"{name}: mean {mean:.2%}, goal {GOALS[name]:.2%}")
            if name == "fastest" and first < float("inf"):
                lines[-1] += f"; {first / seconds:.0f} × sooner than the baseline, goal {SOONER} ×"
            if name == "fast" and baseline:
                epochs = len(baseline[0].curve)
                factor = f"{full / seconds:.0f} × faster than {epochs} epochs of the baseline"
                lines[-1] += f"; {factor}, goal {FASTER} × for 14 epochs"
    return lines


def plot(results: dict[str, list[Result]]) -> bytes:
    """A PNG: error rate over seconds of training, one line per run."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for n, (name, runs) in enumerate(results.items()):
        for run in runs:
            seconds, scores = zip(*run.curve, strict=True)
            images = "test" if name == "baseline" else "validation"
            label = f"{name}, {images} images" if run is runs[0] else None
            axes.plot(seconds, [100 * (1 - score) for score in scores], "o-", ms=3, lw=1, color=f"C{n}", label=label)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="wrong, %")
    axes.grid(which="both", color="0.92")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
