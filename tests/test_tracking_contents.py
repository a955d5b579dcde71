"""Metrics and plots as MLflow gets them, from the formats that DVC reads."""

from pathlib import Path

import pytest

from pipeline.tracking.contents import read_curves, read_metrics
from pipeline.tracking.version import Plot


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"test": {"accuracy": 0.5, "classes": [1, 2]}, "count": 3, "is_new": true, "note": "x"}'),
        ("m.yaml", "test:\n  accuracy: 0.5\n  classes: [1, 2]\ncount: 3\nis_new: true\nnote: x\n"),
        ("m.toml", 'count = 3\nis_new = true\nnote = "x"\n[test]\naccuracy = 0.5\nclasses = [1, 2]\n'),
    ],
)
def test_metrics_are_the_numbers_in_the_file(tmp_path: Path, name: str, text: str) -> None:
    assert read_metrics(written(tmp_path, name, text)) == {"test_accuracy": 0.5, "count": 3}


def test_a_file_that_is_one_number_is_a_metric_with_its_name(tmp_path: Path) -> None:
    assert read_metrics(written(tmp_path, "accuracy.json", "0.25")) == {"accuracy": 0.25}


def test_a_damaged_file_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_metrics(written(tmp_path, "m.json", '{"accuracy": 0.5'))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.csv", "epoch,loss,note\n1,0.5,a\n2,0.25,b\n"),
        ("h.tsv", "epoch\tloss\tnote\n1\t0.5\ta\n2\t0.25\tb\n"),
        ("h.json", '[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]'),
        ("h.yaml", "train:\n- {epoch: 1, loss: 0.5}\n- {epoch: 2, loss: 0.25}\n"),
    ],
)
def test_a_plot_over_whole_numbers_is_a_curve(tmp_path: Path, name: str, text: str) -> None:
    path = written(tmp_path, name, text)

    assert read_curves(path, Plot(name, "epoch", ("loss", "note"))) == {"loss": {1: 0.5, 2: 0.25}}


def test_without_a_y_the_last_column_is_drawn(tmp_path: Path) -> None:
    path = written(tmp_path, "h.csv", "epoch,loss,accuracy\n1,0.5,0.8\n2,,0.9\n")

    assert read_curves(path, Plot("h.csv", "epoch")) == {"accuracy": {1: 0.8, 2: 0.9}}


@pytest.mark.parametrize("steps", ["1,1", "0.5,1", "a,b", "1,"])
def test_a_plot_over_anything_else_is_no_curve(tmp_path: Path, steps: str) -> None:
    first, second = steps.split(",")
    path = written(tmp_path, "h.csv", f"x,y\n{first},0.5\n{second},0.25\n")

    assert read_curves(path, Plot("h.csv", "x", ("y",))) == {}


@pytest.mark.parametrize("template", ["bar_horizontal", "confusion", "scatter"])
def test_a_plot_that_shows_no_lines_is_no_curve(tmp_path: Path, template: str) -> None:
    path = written(tmp_path, "h.csv", "x,y\n1,0.5\n2,0.25\n")

    assert read_curves(path, Plot("h.csv", "x", ("y",), template)) == {}
