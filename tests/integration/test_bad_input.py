"""What a person sees who gives a stage something wrong: one sentence that names the place, and nothing damaged."""

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
from tests.support.project_clone import STAGE_SETTINGS, Clone, moved

NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def place(computed: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which everything is there that a stage may need."""
    return moved(computed, tmp_path_factory.mktemp("bad") / "clone")


def files(place: Clone) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (place.folder / "artifacts").rglob("*") if path.is_file()}


def complaint(place: Clone, stage: str, **environment: str) -> str:
    """The sentence that the stage ends with; what it had written before is as it was."""
    before = files(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        for name in [name for name in os.environ if name.startswith(STAGE_SETTINGS)]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(PipelineError) as caught:
            importlib.import_module(f"pipeline.{stage}").main()
    assert before == files(place)
    return str(caught.value)


@pytest.mark.parametrize("stage", ["download", "eda", "normalise", "train", "score", "export", "track"])
def test_a_stage_ends_with_one_line_and_no_traceback(place: Clone, stage: str) -> None:
    before = files(place)
    for name in ("params.yaml", "dvc.lock"):
        (place.folder / name).rename(place.folder / f"{name}.kept")

    done = place.run("python", "-m", f"pipeline.{stage}")
    for name in ("params.yaml", "dvc.lock"):
        (place.folder / f"{name}.kept").rename(place.folder / name)

    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {'dvc.lock' if stage == 'track' else 'params.yaml'}: expected ")
    assert before == files(place)


@pytest.mark.parametrize(
    ("section", "values", "place_named"),
    [
        ("download", {"dataset": "letters"}, "download.dataset: got 'letters', expected 'mnist'"),
        ("eda", {"mosaic_colums": 3}, "eda.mosaic_colums is not a setting of this stage"),
        ("normalise", {"validation_share": 0}, "normalise.validation_share: got 0, expected greater than 0"),
        ("normalise", {"validation_share": 1.0}, "normalise.validation_share: got 1.0, expected less than 1"),
        ("normalise", {"validation_share": 0.999}, "normalise.validation_share: got 0.999, which leaves none"),
        ("train", {"model": "rnn"}, "train.model: got 'rnn', expected 'mlp' or 'cnn'"),
        ("train", {"epochs": "3"}, "train.epochs: got '3', expected a valid integer"),
        ("train", {"device": "cuda"}, "train.device: got 'cuda', but torch sees no GPU"),
        ("train", {"batch": 100_000}, "train.batch: got 100000, expected at most"),
        ("score", {"first": 0}, "score.first: got 0, expected greater than or equal to 1"),
        ("export", {"opset": 1}, "export.opset: got 1, expected greater than or equal to 18"),
        ("export", {"opset": 99}, "export.opset: got 99, expected less than or equal to 25"),
    ],
)
def test_a_wrong_parameter_is_named(place: Clone, section: str, values: dict[str, Any], place_named: str) -> None:
    params = place.folder / "params.yaml"
    kept = params.read_text()
    place.set(section, **values)

    said = complaint(place, section, CUDA_VISIBLE_DEVICES="")
    params.write_text(kept)

    assert f"params.yaml: {place_named}" in said


@pytest.mark.parametrize(
    ("old", "new", "place_named"),
    [
        (r"learning_rate: \S+", "learning_rate: 1:30", "train.optimizer.learning_rate: got '1:30'"),
        (r"name: sgd", "name: lion", "train.optimizer.name: got 'lion'"),
        (r"name: sgd", "name: [", "expected YAML"),
    ],
)
def test_a_wrong_line_of_yaml_is_named(place: Clone, old: str, new: str, place_named: str) -> None:
    params = place.folder / "params.yaml"
    kept = params.read_text()
    changed, found = re.subn(old, new, kept)
    assert found == 1
    params.write_text(changed)

    said = complaint(place, "train")
    params.write_text(kept)

    assert place_named in said


CONFLICT = """<<<<<<< HEAD
{ours}=======
{theirs}>>>>>>> theirs
"""


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml"])
def test_a_merge_conflict_is_named_with_a_remedy_that_works(place: Clone, name: str) -> None:
    path = place.folder / name
    kept = path.read_text()
    line = next(line for line in kept.splitlines(keepends=True) if "md5: " in line or "seed: " in line)
    number = kept.splitlines(keepends=True).index(line) + 1
    path.write_text(kept.replace(line, CONFLICT.format(ours=line, theirs=line), 1))

    said = complaint(place, "track" if name == "dvc.lock" else "train")
    path.write_text(kept)

    assert f"an unresolved merge conflict at line {number}" in said
    if name == "dvc.lock":
        assert "`git checkout HEAD -- dvc.lock` restores it from the last commit, then `dvc repro`" in said


def test_only_a_dvc_lock_that_is_absent_is_written_by_dvc_repro(place: Clone) -> None:
    path = place.folder / "dvc.lock"
    kept = path.read_text()

    path.unlink()
    absent = complaint(place, "track")
    path.write_text("stages: {")
    damaged = complaint(place, "track")
    path.write_text(kept)

    assert "got no file; `dvc repro` writes it" in absent
    assert "`git checkout HEAD -- dvc.lock` restores it" in damaged


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_text(path: Path) -> None:
    path.write_text("not this")


@pytest.mark.parametrize("damage", [truncate, replace_by_text, Path.unlink])
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
def test_a_damaged_file_is_named(place: Clone, stage: str, file: str, damage: Callable[[Path], None]) -> None:
    path = place.folder / file
    kept = path.read_bytes()
    damage(path)

    said = complaint(place, stage)
    path.write_bytes(kept)

    assert file in said


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("eda", "artifacts/download/test_labels.npy"),
        ("normalise", "artifacts/download/train_labels.npy"),
        ("train", "artifacts/normalise/validation_labels.npy"),
        ("score", "artifacts/download/test_labels.npy"),
    ],
)
def test_a_label_of_no_class_is_named(place: Clone, stage: str, file: str) -> None:
    path = place.folder / file
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([10]))  # the last label

    said = complaint(place, stage)
    path.write_bytes(kept)

    assert f"{file}: got the label 10, expected labels from 0 to 9" in said


@pytest.mark.parametrize("scaling", ['"divide_by": 0', '"divide_by": "0.3"', '"deviation": 0.3'])
def test_a_scaling_that_cannot_be_is_named(place: Clone, scaling: str) -> None:
    path = place.folder / "artifacts/normalise/statistics.json"
    kept = path.read_text()
    path.write_text(f'{{"subtract": 0.1, {scaling}}}')

    said = complaint(place, "train")
    path.write_text(kept)

    assert said.startswith("artifacts/normalise/statistics.json: expected ")


def test_a_corrupted_archive_without_a_mirror_is_named_and_the_others_are_kept(place: Clone) -> None:
    archives = place.folder / ".cache/archives/mnist"
    labels = archives / "train-labels-idx1-ubyte.gz"
    kept = labels.read_bytes()
    labels.write_bytes(gzip.compress(b"other labels"))

    # A process of its own: urllib keeps the proxies that it finds first.
    mirror = f"file://{place.folder}/nowhere/{{dataset}}"
    done = place.run("python", "-m", "pipeline.download", DATASET_MIRROR=mirror, **NO_NETWORK)
    labels.write_bytes(kept)

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
def test_a_file_that_is_no_handwriting_is_named(place: Clone, name: str, content: bytes, expected: str) -> None:
    stranger = place.folder / "data" / name
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_bytes(content)

    said = complaint(place, "score")
    stranger.unlink()

    assert expected in said


def test_a_full_disk_is_named_and_leaves_the_files_as_they_were(place: Clone) -> None:
    # A limit on the size of files stands in for a full disk: the kernel refuses the write in the same place.
    done = place.run("bash", "-c", "ulimit -f 100; trap '' XFSZ; python -m pipeline.normalise")

    assert done.returncode == 1
    assert "error: cannot write artifacts/normalise/" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (place.folder / "artifacts/normalise").iterdir() if path.name.startswith(".")]
    place.must("dvc", "status", "normalise")


def test_a_full_disk_is_told_from_a_mirror_that_fails(place: Clone) -> None:
    archives, mirror = place.folder / ".cache/archives/mnist", place.folder / "mirror/mnist"
    shutil.copytree(archives, mirror)
    (archives / "train-images-idx3-ubyte.gz").unlink()
    limited = "ulimit -f 10; trap '' XFSZ; python -m pipeline.download"
    done = place.run("bash", "-c", limited, DATASET_MIRROR=f"file://{mirror.parent}/{{dataset}}", **NO_NETWORK)
    shutil.copytree(mirror, archives, dirs_exist_ok=True)
    shutil.rmtree(mirror.parent)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: cannot write .cache/archives/mnist/train-images")
    assert "Traceback" not in done.stderr
    assert not list(archives.glob(".fetching-*"))


def test_no_room_for_the_curve_that_is_shown_is_no_concern_of_the_training(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("where a folder should be")

    with live_writer.LiveWriter(tmp_path / ".cache" / "progress" / "train.jsonl") as nowhere:
        nowhere.log_metrics(1, {"loss": 0.5})


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_training_leaves_no_half_written_file(place: Clone, number: signal.Signals, status: int) -> None:
    folder = place.folder / "artifacts/train"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    params = place.folder / "params.yaml"
    kept = params.read_text()
    place.set("train", epochs=1000)

    with subprocess.Popen(
        ["python", "-m", "pipeline.train"],
        cwd=place.folder,
        env=place.environment | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        assert training.stdout is not None
        while not training.stdout.readline().startswith("epoch 3"):
            assert training.poll() is None
        training.send_signal(number)
        _, said = training.communicate(timeout=300)
    params.write_text(kept)

    assert training.returncode == status
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
