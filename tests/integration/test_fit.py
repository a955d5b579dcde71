"""`fit` in memory and the stages on disk train the same model."""

import numpy as np
import torch

from pipeline.core.files import read_yaml
from pipeline.data.dataset import load_split
from pipeline.model import classifier
from pipeline.training import fit
from tests.support.project_clone import Clone


def test_fit_gives_the_weights_of_the_stages(computed: Clone) -> None:
    raw = load_split(computed.folder / "artifacts/download", "train", 10)
    stage = classifier.load(computed.folder / "artifacts/train/model")

    model = fit(raw.images, raw.labels, **read_yaml(computed.folder / "params.yaml")["train"])

    expected = stage.state_dict()
    assert expected.keys() == model.classifier.state_dict().keys()
    for name, weight in model.classifier.state_dict().items():
        assert torch.equal(weight, expected[name]), name
    assert np.array_equal(model.probabilities(raw.images), classifier.predict(stage, torch.tensor(raw.images))[0])
