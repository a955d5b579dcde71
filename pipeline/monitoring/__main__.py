"""`make drift`: whether what a prediction log has is distributed as the test set is.

Reads    the log and the files that it was rotated to; the reference: artifacts/score/reference.json, or a model.onnx.
Writes   a table to standard output.
Decides  by pipeline/monitoring/drift.py. Exit status: 0 without drift, DRIFTED with it, 1 for an error.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core import entrypoint
from pipeline.core.errors import DataError
from pipeline.core.files import read_json
from pipeline.monitoring.drift import FALSE_ALARM, LIMIT, MIN_ANSWERS, Comparison, compare
from pipeline.monitoring.prediction_lines import Logged, read_log
from pipeline.monitoring.reference import FEATURES, KEY, Reference, parse_reference

DRIFTED: Final = 3  # exit status


def load_reference(path: Path) -> Reference:
    """That in a reference.json or in the metadata of a model.onnx. Raises DataError."""
    if path.suffix != ".onnx":
        return parse_reference(read_json(path), str(path))
    import onnx  # only here: a second

    try:
        metadata = {entry.key: entry.value for entry in onnx.load_model(path).metadata_props}
    except Exception as error:  # protobuf's own errors
        raise DataError(f"{path}: expected a model, got {type(error).__name__}: {error}") from error
    if KEY not in metadata:
        raise DataError(f"{path}: expected a model with a reference, got one without: an earlier release exported it")
    return parse_reference(json.loads(metadata[KEY]), str(path))


def table(reference: Reference, logged: Logged, compared: list[Comparison]) -> str:
    """For people: each feature, and the bin whose share differs most."""
    counts = reference.count(reference.bins(logged.features))
    lines = [f"{'feature':12} {'PSI':>7} {'p-value':>9}  largest change of a share"]
    for found in compared:
        rows = (np.array(reference.counts[found.feature]), counts[found.feature])
        before, now = (row / row.sum() for row in rows)
        bin_ = int(abs(now - before).argmax())
        label = reference.labels(found.feature)[bin_]
        name = label if found.feature == "class" else f"up to {label}" if label != "+Inf" else "above"
        mark = "  DRIFT" if found.has_drifted else ""
        change = f"{name}: {before[bin_]:.1%} to {now[bin_]:.1%}"
        lines.append(f"{found.feature:12} {found.psi:7.3f} {found.p_value:9.2g}  {change}{mark}")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make drift", description="Compare a prediction log with the test set.")
    parser.add_argument("log", type=Path)
    parser.add_argument("--reference", type=Path, default=Path("artifacts/score/reference.json"))
    parser.add_argument("--last", type=int, help="only the last images; all if left out")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    reference = load_reference(arguments.reference)
    logged = read_log(arguments.log, reference, arguments.last)
    if logged.images < MIN_ANSWERS:
        raise DataError(f"{arguments.log}: got {logged.images} images, expected at least {MIN_ANSWERS} to compare")
    compared = compare(reference.counts, reference.count(reference.bins(logged.features)))
    skipped = f"; {logged.skipped} lines skipped" if logged.skipped else ""
    print(f"{logged.images:,} images in {logged.requests:,} requests to {', '.join(logged.models)}{skipped}\n")
    print(table(reference, logged, compared))
    drifted = [found.feature for found in compared if found.has_drifted]
    rule = f"PSI of {LIMIT} or more, and p below {FALSE_ALARM:g} / {len(FEATURES)}"
    print(f"\ndrift of {', '.join(drifted)} ({rule})" if drifted else f"\nno drift ({rule})")
    sys.exit(DRIFTED if drifted else 0)


if __name__ == "__main__":
    entrypoint.run(main)
