"""Bad input to a stage: the user sees one sentence that names the place, and no file is damaged."""

import gzip
import importlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.tracking import live_writer
from tests.support.preserving import contents
from tests.support.project_clone import NO_MLFLOW, STAGE_SETTINGS, Clone, duplicate

NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def clone(computed: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the outputs of every stage; each test restores what it changes."""
    return duplicate(computed, tmp_path_factory.mktemp("bad") / "clone")


def error_of(clone: Clone, stage: str, **environment: str) -> str:
    """The message of the PipelineError that the stage raises. Fails if the stage changed any stage's output."""
    before = contents(clone.folder / "artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone.folder)
        for name in [name for name in os.environ if name.startswith(STAGE_SETTINGS)]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(PipelineError) as caught:
            importlib.import_module(f"pipeline.{stage}").main()
    assert before == contents(clone.folder / "artifacts")
    return str(caught.value)


@pytest.mark.parametrize("stage", ["download", "eda", "normalise", "train", "score", "export", "track"])
def test_a_stage_ends_with_one_line_and_no_traceback(clone: Clone, stage: str) -> None:
    before = contents(clone.folder / "artifacts")
    with clone.preserved("params.yaml", "dvc.lock"):
        for name in ("params.yaml", "dvc.lock"):
            (clone.folder / name).unlink()

        done = clone.run("python", "-m", f"pipeline.{stage}")

    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {'dvc.lock' if stage == 'track' else 'params.yaml'}: expected ")
    assert before == contents(clone.folder / "artifacts")


@pytest.mark.parametrize(
    ("section", "values", "expected"),
    [
        ("download", {"dataset": "letters"}, "download.dataset: got 'letters', expected 'mnist'"),
        ("eda", {"mosaic_colums": 3}, "eda.mosaic_colums is not a setting of this stage"),
        ("normalise", {"validation_share": 0}, "normalise.validation_share: got 0, expected greater than 0"),
        ("normalise", {"validation_share": 1.0}, "normalise.validation_share: got 1.0, expected less than 1"),
        ("normalise", {"validation_share": 0.999}, "normalise.validation_share: got 0.999, which leaves none"),
        ("train", {"model": "rnn"}, "train.model: got 'rnn', expected 'mlp', 'cnn' or 'resnet'"),
        ("train", {"epochs": "3"}, "train.epochs: got '3', expected a valid integer"),
        ("train", {"device": "cuda"}, "train.device: got 'cuda', but torch finds no GPU"),
        ("train", {"batch": 100_000}, "train.batch: got 100000, expected at most"),
        ("score", {"first": 0}, "score.first: got 0, expected greater than or equal to 1"),
        ("export", {"opset": 1}, "export.opset: got 1, expected greater than or equal to 18"),
        ("export", {"opset": 99}, "export.opset: got 99, expected less than or equal to 25"),
    ],
)
def test_an_invalid_parameter_is_named(clone: Clone, section: str, values: dict[str, Any], expected: str) -> None:
    with clone.changed(section, **values):
        message = error_of(clone, section, CUDA_VISIBLE_DEVICES="")

    assert f"params.yaml: {expected}" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (r"learning_rate: \S+", "learning_rate: 1:30", "train.optimizer.learning_rate: got '1:30'"),
        (r"name: sgd", "name: lion", "train.optimizer.name: got 'lion'"),
        (r"name: sgd", "name: [", "expected YAML"),
    ],
)
def test_an_invalid_line_of_yaml_is_named(clone: Clone, old: str, new: str, expected: str) -> None:
    path = clone.folder / "params.yaml"
    with clone.preserved("params.yaml"):
        changed, found = re.subn(old, new, path.read_text())
        assert found == 1
        path.write_text(changed)
        message = error_of(clone, "train")

    assert expected in message


CONFLICT = """<<<<<<< HEAD
{ours}=======
{theirs}>>>>>>> other
"""


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml"])
def test_a_merge_conflict_is_named_with_a_remedy_that_works(clone: Clone, name: str) -> None:
    path = clone.folder / name
    lines = path.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if "md5: " in line or "seed: " in line)
    lines[number] = CONFLICT.format(ours=lines[number], theirs=lines[number])
    with clone.preserved(name):
        path.write_text("".join(lines))
        message = error_of(clone, "track" if name == "dvc.lock" else "train")

    assert f"an unresolved merge conflict at line {number + 1}" in message
    if name == "dvc.lock":
        assert "`git checkout HEAD -- dvc.lock` restores it from the last commit, then `dvc repro`" in message


def test_only_a_missing_dvc_lock_is_rewritten_by_dvc_repro(clone: Clone) -> None:
    path = clone.folder / "dvc.lock"
    with clone.preserved("dvc.lock"):
        path.unlink()
        missing = error_of(clone, "track")
        path.write_text("stages: {")
        damaged = error_of(clone, "track")

    assert "got no file; `dvc repro` writes it" in missing
    assert "`git checkout HEAD -- dvc.lock` restores it" in damaged


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_with_text(path: Path) -> None:
    path.write_text("some text")


@pytest.mark.parametrize("damage", [truncate, overwrite_with_text, Path.unlink])
@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("normalise", "artifacts/download/train_images.npy"),
        ("eda", "artifacts/download/test_labels.npy"),
        ("train", "artifacts/normalise/statistics.json"),
        ("score", "artifacts/train/model/weights.safetensors"),
        ("score", "artifacts/download/dataset.json"),
    ],
)
def test_a_damaged_file_is_named(clone: Clone, stage: str, file: str, damage: Callable[[Path], None]) -> None:
    with clone.preserved(file):
        damage(clone.folder / file)
        message = error_of(clone, stage)

    assert file in message


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("eda", "artifacts/download/test_labels.npy"),
        ("normalise", "artifacts/download/train_labels.npy"),
        ("train", "artifacts/normalise/validation_labels.npy"),
        ("score", "artifacts/download/test_labels.npy"),
    ],
)
def test_a_label_outside_the_classes_is_named(clone: Clone, stage: str, file: str) -> None:
    path = clone.folder / file
    with clone.preserved(file):
        path.write_bytes(path.read_bytes()[:-1] + bytes([10]))  # the last label
        message = error_of(clone, stage)

    assert f"{file}: got the label 10, expected labels from 0 to 9" in message


@pytest.mark.parametrize("scaling", ['"divide_by": 0', '"divide_by": "0.3"', '"deviation": 0.3'])
def test_an_invalid_scaling_is_named(clone: Clone, scaling: str) -> None:
    statistics = "artifacts/normalise/statistics.json"
    with clone.preserved(statistics):
        (clone.folder / statistics).write_text(f'{{"subtract": 0.1, {scaling}}}')
        message = error_of(clone, "train")

    assert message.startswith(f"{statistics}: expected ")


def test_a_corrupted_archive_without_a_mirror_is_named_and_the_others_are_kept(clone: Clone) -> None:
    archives = clone.folder / ".cache/archives/mnist"
    with clone.preserved(".cache/archives"):
        (archives / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other labels"))

        # In a process of its own: urllib keeps the proxies that it finds first.
        mirror = f"file://{clone.folder}/nowhere/{{dataset}}"
        done = clone.run("python", "-m", "pipeline.download", DATASET_MIRROR=mirror, **NO_NETWORK)

        assert done.returncode == 1
        assert "error: could not fetch train-labels-idx1-ubyte.gz" in done.stderr
        assert "make demo" in done.stderr
        assert len(list(archives.glob("*.gz"))) == 4
        assert not list(archives.glob(".fetching-*"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("3/notes.png", b"no picture", "3/notes.png: got 10 bytes that are not a picture"),
        ("ten/one.png", b"", "ten/one.png: expected pictures as data/<digit>/<name>.png"),
        ("one.png", b"", "one.png: expected pictures as data/<digit>/<name>.png"),
    ],
)
def test_an_unexpected_file_in_data_is_named(clone: Clone, name: str, content: bytes, expected: str) -> None:
    path = clone.folder / "data" / name
    with clone.preserved(f"data/{name}"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        message = error_of(clone, "score")

    assert expected in message


# The limit on file sizes stands in for a full disk: the kernel refuses the write in the same place.
def test_a_full_disk_is_named_and_leaves_the_files_unchanged(clone: Clone) -> None:
    before = contents(clone.folder / "artifacts")

    done = clone.run("bash", "-c", "ulimit -f 100; trap '' XFSZ; python -m pipeline.normalise")

    assert done.returncode == 1
    assert "error: cannot write artifacts/normalise/" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(clone.folder / "artifacts") == before


def test_a_full_disk_is_not_reported_as_a_failing_mirror(clone: Clone, tmp_path: Path) -> None:
    archives = clone.folder / ".cache/archives/mnist"
    shutil.copytree(archives, tmp_path / "mnist")
    with clone.preserved(".cache/archives"):
        (archives / "train-images-idx3-ubyte.gz").unlink()
        limited = "ulimit -f 10; trap '' XFSZ; python -m pipeline.download"
        done = clone.run("bash", "-c", limited, DATASET_MIRROR=f"file://{tmp_path}/{{dataset}}", **NO_NETWORK)

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: cannot write .cache/archives/mnist/train-images")
        assert "Traceback" not in done.stderr
        assert not list(archives.glob(".fetching-*"))


def test_a_training_continues_when_its_live_metrics_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file where a folder should be")

    with live_writer.LiveWriter(tmp_path / ".cache" / "progress" / "train.jsonl") as writer:
        writer.log_metrics(1, {"loss": 0.5})


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_training_leaves_no_half_written_file(clone: Clone, number: signal.Signals, status: int) -> None:
    before = clone.outputs("train")
    with (
        clone.changed("train", epochs=1000),
        subprocess.Popen(
            ["python", "-m", "pipeline.train"],
            cwd=clone.folder,
            env=clone.environment | NO_MLFLOW,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as training,
    ):
        assert training.stdout is not None
        while not training.stdout.readline().startswith("epoch 3"):
            assert training.poll() is None
        training.send_signal(number)
        _, errors = training.communicate(timeout=300)

    assert training.returncode == status
    assert "Traceback" not in errors
    after = clone.outputs("train")
    epochs = [line.partition(b",")[0] for line in after.pop("history.csv").splitlines()]  # written after each epoch
    assert epochs[1:4] == [b"1", b"2", b"3"]
    assert after == {name: content for name, content in before.items() if name != "history.csv"}
