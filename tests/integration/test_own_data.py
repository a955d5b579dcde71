"""A folder of letters becomes a model that reads letters."""

import io
from pathlib import Path

import numpy as np

from pipeline.data.image import preprocess
from pipeline.data.own_source import folder_sha256
from serving.model import Model
from tests.support import project_clone
from tests.support.made_letters import write_letters
from tests.support.synthetic_digits import draw


def test_a_folder_of_letters_becomes_a_model_that_reads_them(tmp_path: Path) -> None:
    clone = project_clone.copy(tmp_path)
    checksum = folder_sha256(write_letters(tmp_path / "letters", 40))
    own = {"name": "letters", "source": "letters", "checksum": checksum, "preprocessing": "ink", "classes": None}
    clone.set("download", dataset="own", own=own | {"test_share": 0.2, "seed": 1})
    clone.set("normalise", validation_share=0.2)
    clone.set("train", cnn={"widths": [4, 8, 8], "dropout": 0.0}, epochs=30, batch=16)
    clone.set("score", pictures=3, corrupted=9, outliers=50)

    for stage in ("download", "eda", "normalise", "train", "score", "export"):
        clone.check_output("python", "-m", f"pipeline.{stage}")

    model = Model(tmp_path / "artifacts/export/model.onnx", "own:v1")
    assert (model.dataset, model.classes, model.classifies_digits) == ("letters", ("L", "T", "X"), False)
    assert model.reproduces_golden()
    assert "one item" in (tmp_path / "artifacts/export/model_card.md").read_text(encoding="utf-8")
    rng = np.random.default_rng(7)
    for label, name in enumerate(model.classes):
        picture = io.BytesIO()
        draw(name, rng, "paint").save(picture, "PNG")
        probabilities, _ = model.classify(preprocess(picture.getvalue(), model.preprocessing).image[None])
        assert probabilities[0].argmax() == label, name
