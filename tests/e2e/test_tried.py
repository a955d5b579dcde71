"""The command that prints the tables of experiments in docs/performance.md."""

import re
from pathlib import Path

from tests.support import project_clone


def test_a_change_is_measured_on_images_held_out_of_the_training_set(tmp_path: Path) -> None:
    clone = project_clone.copy(tmp_path)
    changes = ("download.dataset=digits", "train.batch=64", "train.epochs=3")

    printed = clone.check_output("python", "-m", "benchmarks.ablation", "--profile", "fast", "--seeds", "2", *changes)

    (held_out,) = re.findall(r"^\| download\S+ train\S+ train\S+ \| 3 \| 2 \| ([\d.]+) ± ", printed, re.MULTILINE)
    assert 20 < float(held_out) <= 100  # of chance's 10
