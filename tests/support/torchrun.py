"""Training shared by two processes under torchrun."""

import shutil
from pathlib import Path

from tests.support.project_clone import Clone, duplicate

TRAIN = ("-m", "pipeline.train")
TORCHRUN = ("torchrun", "--standalone", "--nproc-per-node", "2")
SLOW_SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0}


def untrained(computed: Clone, folder: Path) -> Clone:
    """A clone in which nothing has been trained yet, with a network without batch normalization."""
    clone = duplicate(computed, folder)
    shutil.rmtree(clone.folder / "artifacts/train")
    clone.set("train", model="mlp", epochs=3, optimizer=SLOW_SGD, precision="float32")
    clone.set("train", mlp={"hidden": [32], "activation": "relu", "dropout": 0.0})
    return clone
