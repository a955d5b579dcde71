"""Files are written whole or not at all, in formats that git can diff, and checked when they are read."""

import ast
import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from dvc.utils.serialize import YAMLFileCorruptedError, dump_yaml, load_yaml

from pipeline.core.errors import DataError, StorageError
from pipeline.core.files import (
    read_array,
    read_json,
    read_yaml,
    to_json,
    write_array,
    write_bytes,
    write_csv,
    write_files,
    write_json,
)
from pipeline.data.dataset import Split, load_split
from pipeline.model import classifier
from pipeline.model.classifier import Classifier
from pipeline.model.networks import Architecture, CnnParams, MlpParams, ResnetParams


def saved(array: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def test_what_was_written_is_read_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    write_array(tmp_path / "new" / "a.npy", array)
    assert np.array_equal(read_array(tmp_path / "new" / "a.npy", np.uint8, (None, 2, 3)), array)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.npy"]


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_bytes(path, b"old")

    def fill(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(StorageError, match=r"metrics\.json: No space left on device"):
        write_bytes(path, b"new")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {path: b"old"}


def test_an_interrupt_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_bytes(path, b"old")

    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {path: b"old"}


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(StorageError, match=r"metrics\.json"):
        write_bytes(tmp_path / "metrics.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_json_is_sorted_indented_and_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": "é", "c": 0.1}})
    text = (tmp_path / "a.json").read_text()
    assert text == '{\n  "a": {\n    "c": 0.1,\n    "d": "é"\n  },\n  "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": {"c": 0.1, "d": "é"}, "b": 1}


def test_json_holds_no_number_that_other_parsers_reject(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "got"),
    [(b"", "cannot be read"), (b"{", "cannot be read"), (b"\xff", "cannot be read"), (b"[]", "list"), (b"3", "int")],
)
def test_a_json_file_without_an_object_is_named(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json: expected a JSON object, got .*{got}"):
        read_json(tmp_path / "a.json")


def test_a_json_file_without_the_required_keys_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"mean": 0.1, "other": 2})
    assert read_json(tmp_path / "a.json", "mean")["mean"] == 0.1
    with pytest.raises(DataError, match=r"a\.json: expected the keys mean, deviation, got mean, other"):
        read_json(tmp_path / "a.json", "mean", "deviation")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o12", 10),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("1e-3", 0.001),
        ("1e-05", 1e-05),
        ("-1e-07", -1e-07),
        ("1e16", 1e16),
        ("1.", 1.0),
        ("~", None),
        ("&same 3", 3),
    ],
)
def test_a_value_is_read_as_dvc_reads_it(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {text}\n")

    assert read_yaml(path) == load_yaml(path) == {"a": value}


@pytest.mark.parametrize("number", [1e-05, -1e-07, 1.5e-05, 0.0001, 0.1, 3.0, 1e16, 1e22, 1e-300])
def test_a_number_is_read_as_dvc_wrote_it(tmp_path: Path, number: float) -> None:
    dump_yaml(tmp_path / "dvc.lock", {"a": number, "1e-05": "e-05"})
    assert read_yaml(tmp_path / "dvc.lock") == {"a": number, "1e-05": "e-05"}


def test_anchors_and_merged_keys_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("base: &base {epochs: 010}\ntrain: {<<: *base, batch: 2}\n")

    assert read_yaml(path) == load_yaml(path) == {"base": {"epochs": 10}, "train": {"epochs": 10, "batch": 2}}


@pytest.mark.parametrize("content", ["a: 1\na: 2", "a: 1\n---\na: 2", "a: !other 1"])
def test_yaml_that_dvc_rejects_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(YAMLFileCorruptedError):
        load_yaml(tmp_path / "params.yaml")
    with pytest.raises(ValueError, match=r"^[^\n]*line [^\n]*$"):
        read_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", ["a: [1", "\ta: 1", "a: 1\n b: 2"])
def test_invalid_yaml_is_reported_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"^[^\n]*line [^\n]*$"):
        read_yaml(tmp_path / "a.yaml")


def test_missing_labels_and_labels_of_no_class_are_named(tmp_path: Path, digits: Split) -> None:
    digits.save(tmp_path, "train")
    assert np.array_equal(load_split(tmp_path, "train", 10).labels, digits.labels)
    with pytest.raises(DataError, match=r"train_labels\.npy: got the label 9, expected labels from 0 to 8"):
        load_split(tmp_path, "train", 9)
    digits.take(np.zeros(0, np.int64)).save(tmp_path, "none")
    with pytest.raises(DataError, match=r"none_labels\.npy: got no label, expected labels from 0 to 9"):
        load_split(tmp_path, "none", 10)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: expected a JSON object, got no file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.npy: expected an array of uint8 \(N, 28, 28\), got no file"):
        read_array(tmp_path / "a.npy", np.uint8, (None, 28, 28))


@pytest.mark.parametrize("number", [0.1, 1 / 3, np.float64(2) / 3, 1e-300, 0.1 + 0.2])
def test_a_number_in_a_table_is_read_back_exactly(tmp_path: Path, number: float) -> None:
    write_csv(tmp_path / "a.csv", ["name", "number"], [["x", number]])
    header, row = (tmp_path / "a.csv").read_text().splitlines()
    assert (header, row.split(",")[0]) == ("name,number", "x")
    assert float(row.split(",")[1]) == number


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (saved(np.zeros((3, 28, 28))), r"float64 \(3, 28, 28\)"),
        (saved(np.zeros((3, 28, 28), np.int8)), r"int8 \(3, 28, 28\)"),
        (saved(np.zeros((3, 28, 27), np.uint8)), r"uint8 \(3, 28, 27\)"),
        (saved(np.zeros((28, 28), np.uint8)), r"uint8 \(28, 28\)"),
        (saved(np.uint8(3)), r"uint8 \(\)"),
        (saved(np.zeros((3, 28, 28), np.uint8))[:-1], "cannot be read"),
        (saved(np.zeros((3, 28, 28), np.uint8))[:20], "cannot be read"),
        (saved(np.array([{}], object), allow_pickle=True), "Object arrays cannot be loaded"),
        (b"", "cannot be read"),
        (b"no array", "cannot be read"),
    ],
)
def test_a_file_without_the_expected_array_is_named(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npy: expected an array of uint8 \(N, 28, 28\), got .*{got}"):
        read_array(tmp_path / "a.npy", np.uint8, (None, 28, 28))


def architecture(**changes: Any) -> Architecture:
    linear, small = MlpParams(hidden=[4], activation="relu", dropout=0.5), CnnParams(widths=[2, 3, 4], dropout=0)
    residual = ResnetParams(stem=2, early_pooling=True, widths=[3, 4], blocks=1, dropout=0)
    networks = {"model": "cnn", "mlp": linear, "cnn": small, "resnet": residual}
    values = {**networks, "classes": 10, "outliers": True, "subtract": 0.1307, "divide_by": 1 / 3}
    return Architecture.model_validate(values | changes)


def random_weights(shape: Architecture) -> dict[str, torch.Tensor]:
    return Classifier.from_architecture(shape).state_dict()


@pytest.mark.parametrize("model", ["cnn", "mlp", "resnet"])
def test_a_classifier_is_read_back_as_it_was_saved_and_saved_again_to_the_same_bytes(
    tmp_path: Path, digits: Split, model: str
) -> None:
    shape = architecture(model=model)
    first, images = Classifier.from_architecture(shape).eval(), torch.from_numpy(digits.images)
    classifier.save(tmp_path / "one", shape, first.state_dict())
    second = classifier.load(tmp_path / "one")
    classifier.save(tmp_path / "other", shape, second.state_dict())
    answers = zip(classifier.predict(first, images), classifier.predict(second, images), strict=True)
    assert all(torch.equal(one, other) for one, other in answers)
    for name in ("architecture.json", "weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("name", ["architecture.json", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["half", "garbage", "empty", "another network's", "missing"])
def test_a_damaged_classifier_is_named(tmp_path: Path, name: str, damage: str) -> None:
    classifier.save(tmp_path, architecture(), random_weights(architecture()))
    other = architecture(model="mlp")
    classifier.save(tmp_path / "other", other, random_weights(other))
    content, others = (tmp_path / name).read_bytes(), (tmp_path / "other" / name).read_bytes()
    contents = {"half": content[: len(content) // 2], "garbage": b"garbage" * 9, "empty": b"", "missing": b""}
    (tmp_path / name).write_bytes(contents.get(damage, others))
    if damage == "missing":
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: (got SHA-256 .*, expected|expected a file)"):
        classifier.load(tmp_path)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    files = {"architecture.json": to_json(architecture().model_dump())}
    weights = safetensors.torch.save(random_weights(architecture(model="mlp")))
    write_files(tmp_path, files | {"weights.safetensors": weights})
    with pytest.raises(DataError, match=r"weights\.safetensors: expected the weights of architecture\.json's network"):
        classifier.load(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("model", "rnn"), ("divide_by", 0), ("classes", "ten"), ("depth", 3)])
def test_an_architecture_that_cannot_be_built_is_named(tmp_path: Path, key: str, value: object) -> None:
    classifier.save(tmp_path, architecture(), random_weights(architecture()))
    weights = (tmp_path / "weights.safetensors").read_bytes()
    wrong = to_json(architecture().model_dump() | {key: value})
    write_files(tmp_path, {"architecture.json": wrong, "weights.safetensors": weights})
    with pytest.raises(DataError, match=rf"architecture\.json: expected an architecture, got: (.|\n)*{key}"):
        classifier.load(tmp_path)


@pytest.mark.parametrize("content", [b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00\x05\x00{'a':"])
def test_an_array_file_with_a_damaged_header_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.npy: expected an array"):
        read_array(tmp_path / "a.npy", np.uint8, (None,))


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageError, match=r"cannot write .*file/x\.json"):
        write_bytes(tmp_path / "file" / "x.json", b"")


@pytest.mark.parametrize("path", sorted([*Path("pipeline").rglob("*.py"), *Path("serving").rglob("*.py")]), ids=str)
def test_text_files_are_read_and_written_as_utf_8_whatever_the_locale(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            arguments = {keyword.arg for keyword in node.keywords}
            mode = node.args[-1].value if node.args and isinstance(node.args[-1], ast.Constant) else ""
            is_text = node.func.attr in ("read_text", "write_text") or (
                node.func.attr == "open" and "b" not in str(mode)
            )
            is_picture = isinstance(node.func.value, ast.Name) and node.func.value.id == "Image"
            assert not is_text or is_picture or "encoding" in arguments, f"line {node.lineno}"
