"""`make shadow-report`: how a shadow model's answers differ from those of the served model, by what /metrics counted.

Reads    /metrics of a running service.
Writes   a table to standard output: of each class how often either or both models said it.
Decides  whether a class is answered more often by one of the models: McNemar's exact test of the images of which only
         one model said so, at FALSE_ALARM / the number of classes (Bonferroni). Which model is right it cannot say, as
         no labels are known: `make promote` decides that. Exit status: 0 without a difference, DIFFERENT with one, 1
         for an error.
"""

import argparse
import sys
import urllib.request
from collections.abc import Mapping
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import binomtest

from pipeline.core import entrypoint
from pipeline.core.errors import DataError

DIFFERENT: Final = 3  # exit status
FALSE_ALARM: Final = 0.01  # probability of a difference in any class, if both models answer alike
CONFIDENCE: Final = 0.95  # of the interval of the agreement

Table = Mapping[tuple[str, str], int]
"""How many images got these answers, of the served model and of its shadow."""


class ClassComparison(NamedTuple):
    name: str
    both: int
    only_served: int
    only_shadow: int
    p_value: float
    differs: bool


class Counted(NamedTuple):
    """What a service has counted since it started."""

    tags: tuple[str, ...]
    table: Table
    skipped: int


def parse_metrics(text: str, where: str) -> Counted:
    """Raises DataError if no shadow has been compared."""
    table: dict[tuple[str, str], int] = {}
    tags, skipped = [], 0
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "digits_shadow_images_total" and sample.value:
                    table[sample.labels["served"], sample.labels["shadow"]] = int(sample.value)
                elif sample.name == "digits_shadow_model":
                    tags.append(sample.labels["tag"])
                elif sample.name == "digits_shadow_skipped_total":
                    skipped = int(sample.value)
    except (KeyError, ValueError) as error:
        raise DataError(f"{where}: expected metrics of Prometheus, got {error}") from error
    if not table:
        raise DataError(f"{where}: got no answers of a shadow, expected some: `make serve SHADOW=challenger`")
    return Counted(tuple(tags), table, skipped)


def compare_classes(table: Table) -> list[ClassComparison]:
    """Of each class that a model has said, in their order."""
    names = sorted({name for pair in table for name in pair})
    found = []
    for name in names:
        both = table.get((name, name), 0)
        served = sum(count for (one, _), count in table.items() if one == name) - both
        shadow = sum(count for (_, other), count in table.items() if other == name) - both
        p = float(binomtest(served, served + shadow).pvalue) if served + shadow else 1.0
        found.append(ClassComparison(name, both, served, shadow, p, p < FALSE_ALARM / len(names)))
    return found


def report(counted: Counted, compared: list[ClassComparison]) -> str:
    images = sum(counted.table.values())
    agreed = sum(count for (one, other), count in counted.table.items() if one == other)
    low, high = binomtest(agreed, images).proportion_ci(CONFIDENCE)
    lines = [
        f"shadow {', '.join(counted.tags)}: agrees on {agreed / images:.2%} of {images:,} images "
        f"({low:.2%} to {high:.2%}); {counted.skipped:,} skipped for lack of time",
        "",
        f"{'class':12} {'both':>8} {'served':>8} {'shadow':>8} {'p-value':>9}",
    ]
    for row in compared:
        mark = "  DIFFERENT" if row.differs else ""
        counts = f"{row.both:8,} {row.only_served:8,} {row.only_shadow:8,}"
        lines.append(f"{row.name:12} {counts} {row.p_value:9.2g}{mark}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make shadow-report", description="Compare a shadow with the served model.")
    parser.add_argument("url", help="of the service, for example http://127.0.0.1:3000")
    where = f"{parser.parse_args().url.rstrip('/')}/metrics"
    try:
        with urllib.request.urlopen(where, timeout=30) as response:
            text = response.read().decode()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: expected the metrics of a service, got {error}") from error
    counted = parse_metrics(text, where)
    compared = compare_classes(counted.table)
    print(report(counted, compared))
    different = [row.name for row in compared if row.differs]
    rule = f"McNemar's exact test, p below {FALSE_ALARM:g} / {len(compared)}"
    print(
        f"\n{', '.join(different)} answered by one of them more often" if different else "\nno difference", f"({rule})"
    )
    sys.exit(DIFFERENT if different else 0)


if __name__ == "__main__":
    entrypoint.run(main)
