"""The trainings beside each other: a table, how far they are from their goals, a plot."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from matplotlib.figure import Figure

MARKS: Final = (0.99, 0.992, 0.995)
GOALS: Final = {"fastest": 0.99, "fast": 0.992, "default": 0.996, "best": 0.9975, "fashion": 0.95}  # on test images
SOONER: Final = 25  # times, than the peer reaches the goal of `fastest`
FASTER: Final = 50  # times, than the peer's whole training: `fast`
Curve = Sequence[tuple[float, float]]  # seconds, accuracy


class Result(NamedTuple):
    """One training: what it took, its accuracy after each epoch, on validation images (the peer, which trains on these
    too: on the test images), and its accuracies in the end, NaN where a data set has no such pictures."""

    seconds: float
    curve: Curve
    test: float
    own: float = float("nan")
    drawn: float = float("nan")


def reached(curve: Curve, mark: float) -> float:
    """Seconds to the first epoch that was at least as accurate as `mark`; infinite if none was."""
    return next((seconds for seconds, score in curve if score >= mark), float("inf"))


def row(name: str, results: Sequence[Result], whole: float | None) -> str:
    tests = [100 * result.test for result in results]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    marks = (statistics.median(reached(result.curve, mark) for result in results) for mark in MARKS)
    times = " | ".join("–" if mark == float("inf") else f"{mark:.1f}" for mark in marks)
    seconds = statistics.median(result.seconds for result in results)
    own = statistics.fmean(result.own for result in results)
    drawn = statistics.fmean(result.drawn for result in results)
    pictures = " | ".join("–" if share != share else f"{100 * share:.1f}" for share in (own, drawn))
    return (
        f"| {name} | {len(tests)} | {statistics.fmean(tests):.3f} ± {spread:.3f} | {min(tests):.2f} "
        f"| {pictures} | {seconds:.1f} | {'–' if whole is None else f'{whole:.0f}'} | {times} |"
    )


def table(results: Mapping[str, Sequence[Result]], whole: Mapping[str, float]) -> str:
    marks = " | ".join(f"s to {mark:.1%}" for mark in MARKS)
    head = f"| profile | seeds | test accuracy, % | worst | `data/`, % | drawn, % | s | `dvc repro`, s | {marks} |"
    rows = (row(name, trainings, whole.get(name)) for name, trainings in results.items())
    return "\n".join([head, "|" + 11 * "---|", *rows])


def goals(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """A sentence for each profile that has one: what was aimed at, and what was got."""
    lines = []
    peer = results.get("peer", [])
    first = statistics.median(reached(result.curve, GOALS["fastest"]) for result in peer) if peer else float("inf")
    full = statistics.median(result.seconds for result in peer) if peer else float("inf")
    for name, trainings in results.items():
        if name in GOALS:
            got, took = (statistics.fmean(r.test for r in trainings), statistics.median(r.seconds for r in trainings))
            lines.append(f"{name}: mean {got:.2%}, aimed at {GOALS[name]:.2%}")
            if name == "fastest" and first < float("inf"):
                lines[-1] += f"; {first / took:.0f} × sooner than the peer gets there, aimed at {SOONER} ×"
            if name == "fast" and peer:
                epochs = len(peer[0].curve)
                lines[-1] += f"; {full / took:.0f} × faster than the peer's {epochs} epochs, aimed at {FASTER} × of 14"
    return lines


def plot(results: dict[str, list[Result]]) -> bytes:
    """PNG: accuracy over seconds of training, each training a line."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for n, (name, trainings) in enumerate(results.items()):
        for training in trainings:
            seconds, scores = zip(*training.curve, strict=True)
            label = f"{name}, {'test' if name == 'peer' else 'validation'} images" if training is trainings[0] else None
            axes.plot(seconds, [100 * (1 - score) for score in scores], "o-", ms=3, lw=1, color=f"C{n}", label=label)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="wrong, %")
    axes.grid(which="both", color="0.92")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
