"""A training by two processes under torchrun learns as well as one by one process."""

from pathlib import Path

from pipeline.core.files import read_json
from tests.integration.test_distributed import NO_MLFLOW, SHARED, TRAIN, untrained
from tests.support.project_clone import Clone


def test_the_default_network_learns_as_well_with_batch_normalisation_over_parts(
    computed: Clone, tmp_path: Path
) -> None:
    place = untrained(computed, tmp_path / "clone")
    fast = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    place.set("train", model="cnn", cnn={"widths": [4, 8, 16], "dropout": 0.2}, epochs=12, optimizer=fast)
    found = []
    for how in (("python", *TRAIN), (*SHARED, *TRAIN)):
        place.must(*how, **NO_MLFLOW)
        found.append(read_json(place.folder / "artifacts/train/summary.json")["best_validation_accuracy"])

    assert min(found) > 0.85, found
    assert abs(found[0] - found[1]) <= 0.1, found
