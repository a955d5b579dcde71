"""Two processes under torchrun train the default network as well as one process does."""

from pathlib import Path

from pipeline.core.files import read_json
from tests.support.project_clone import NO_MLFLOW, Clone
from tests.support.torchrun import TORCHRUN, TRAIN, untrained


def test_batch_normalization_over_each_processs_part_of_a_batch_costs_no_accuracy(
    computed: Clone, tmp_path: Path
) -> None:
    clone = untrained(computed, tmp_path / "clone")
    fast = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    clone.set("train", model="cnn", cnn={"widths": [4, 8, 16], "dropout": 0.2}, epochs=24, optimizer=fast)
    clone.set("train", outliers=0.0, averaging=0.0)
    accuracies = []
    for launcher in (("python",), TORCHRUN):
        clone.check_output(*launcher, *TRAIN, **NO_MLFLOW)
        accuracies.append(read_json(clone.folder / "artifacts/train/summary.json")["best_validation_accuracy"])

    assert min(accuracies) > 0.85, accuracies
    assert abs(accuracies[0] - accuracies[1]) <= 0.1, accuracies
