"""A registry that others can write to: `make bento` compares a version with git and with its signature."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from mlflow.entities.model_registry import ModelVersion

from tests.support.project_clone import Clone, duplicate

KEYS = """
set -e
for name in own other; do
    openssl genpkey -algorithm ed25519 -out $name.pem
    openssl pkey -in $name.pem -pubout -out $name.pub
done
"""


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    """A copy of the computed clone with the results committed, and a BentoML store of its own."""
    clone = duplicate(computed, tmp_path / "clone")
    clone.environment["BENTOML_HOME"] = str(tmp_path / "bentoml")
    clone.check_output("git", "add", "--all")
    clone.check_output("git", "commit", "--quiet", "--message", "results")
    return clone


def champion(clone: Clone) -> ModelVersion:
    (version,) = clone.versions("mnist")
    return version


def set_tags(clone: Clone, **tags: str) -> None:
    for name, value in tags.items():
        clone.client().set_model_version_tag("mnist", "1", name.replace("__", "."), value)


def poison(clone: Clone) -> None:
    """Another network in place of the champion's, with its SHA-256 in the tag, all else as it was."""
    (file,) = (clone.folder / "mlartifacts").glob("models/*/artifacts/model.onnx")
    proto = onnx.load(file)
    weights = next(tensor for tensor in proto.graph.initializer if len(tensor.raw_data) > 100)
    weights.raw_data = weights.raw_data[::-1]
    file.write_bytes(proto.SerializeToString())
    set_tags(clone, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def bento(clone: Clone, **environment: str) -> "subprocess.CompletedProcess[str]":
    done = clone.run("python", "-m", "pipeline.packaging.bento", "--alias", "candidate", **environment)
    assert "Traceback" not in done.stderr
    return done


def test_an_honest_model_is_verified_with_the_dvc_lock_that_was_committed_after_it(clone: Clone) -> None:
    done = bento(clone)

    assert "verified with dvc.lock in this folder: model.onnx, training_data, handwriting, test_accuracy" in done.stdout
    assert "signature not checked" in done.stdout
    (clone.folder / "dvc.lock").unlink()
    commit = clone.check_output("git", "rev-parse", "HEAD")[:12]
    assert f"verified with dvc.lock of commit {commit}: model.onnx, training_data" in bento(clone).stdout


def test_a_model_of_a_commit_that_is_not_here_is_not_verified_and_says_so(clone: Clone) -> None:
    clone.client().set_tag(champion(clone).tags["parent_run"], "mlflow.source.git.commit", "--output=x")

    assert "not verified: the registry names commit '--output=x', which this repository lacks" in bento(clone).stdout


def test_another_model_with_copied_tags_is_refused(clone: Clone) -> None:
    poison(clone)

    done = bento(clone)

    assert done.returncode == 1
    assert "error: models:/mnist/1: model.onnx: got MD5" in done.stderr
    assert "as in dvc.lock in this folder" in done.stderr
    assert not (clone.folder / ".cache/bento").exists()


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ({"test_accuracy": "0.9999"}, "test_accuracy: got 0.9999 from the registry"),
        ({"data__md5": "c0ffee.dir"}, "handwriting: got c0ffee.dir from the registry"),
        ({"training_data__md5": "c0ffee.dir"}, "training_data: got c0ffee.dir from the registry"),
    ],
)
def test_the_registrys_word_about_data_and_accuracy_is_compared_too(
    clone: Clone, tags: dict[str, str], label: str
) -> None:
    set_tags(clone, **tags)

    done = bento(clone)

    assert done.returncode == 1
    assert f"error: models:/mnist/1: {label}" in done.stderr


def test_a_version_that_was_registered_by_hand_is_a_sentence_and_track_completes_it(clone: Clone) -> None:
    version, client = champion(clone), clone.client()
    for name in ("parent_run", "data.md5", "test_accuracy", "validation_accuracy"):
        client.delete_model_version_tag("mnist", str(version.version), name)

    done = bento(clone)

    assert done.returncode == 1
    assert "models:/mnist/1: expected the tags" in done.stderr
    assert "got no parent_run, data.md5, test_accuracy: it was not registered by `make track`" in done.stderr
    clone.check_output("python", "-m", "pipeline.track")
    assert bento(clone).returncode == 0


def test_the_tag_in_the_store_depends_on_the_registry_and_a_damaged_bento_is_built_again(clone: Clone) -> None:
    first = bento(clone).stdout
    run = champion(clone).tags["parent_run"]
    clone.client().set_tag(run, "git.dirty", "true")
    second = bento(clone).stdout
    manifest = next((Path(clone.environment["BENTOML_HOME"]) / "bentos").glob(f"*/{tag_of(second)}/bento.yaml"))
    manifest.write_text(manifest.read_text().replace("python_version: '3", "python_version: '2"))

    assert tag_of(first) != tag_of(second)
    assert bento(clone).stdout == second
    assert "python_version: '2" not in manifest.read_text()


def tag_of(printed: str) -> str:
    return printed.splitlines()[1].rpartition(":")[2]


def resign(clone: Clone) -> None:
    clone.check_output("python", "-m", "pipeline.track", MODEL_SIGNING_KEY="other.pem")


ATTACKS: dict[str, Callable[[Clone], object]] = {
    "unsigned": lambda clone: clone.client().delete_model_version_tag("mnist", "1", "signature"),
    "another accuracy": lambda clone: set_tags(clone, test_accuracy="0.9999"),
    "not base64": lambda clone: set_tags(clone, signature="!"),
    "another key": resign,
    "another file": poison,
}


def test_with_a_key_only_signed_versions_are_built(clone: Clone) -> None:
    clone.check_output("bash", "-c", KEYS)
    assert ", signed" in clone.check_output("python", "-m", "pipeline.track", MODEL_SIGNING_KEY="own.pem")
    assert "signed with the key of own.pub" in bento(clone, MODEL_VERIFY_KEY="own.pub").stdout
    for name, attack in ATTACKS.items():
        attack(clone)
        done = bento(clone, MODEL_VERIFY_KEY="own.pub")
        assert done.returncode == 1, name
        assert "signature" in done.stderr, name
        if name != "another file":
            clone.check_output("python", "-m", "pipeline.track", MODEL_SIGNING_KEY="own.pem")


@pytest.mark.parametrize(
    ("key", "got"), [("missing.pem", "No such file"), ("params.yaml", "expected a private Ed25519")]
)
def test_a_key_that_cannot_be_used_is_a_sentence(clone: Clone, key: str, got: str) -> None:
    done = clone.run("python", "-m", "pipeline.track", MODEL_SIGNING_KEY=key)

    assert done.returncode == 1
    assert f"MODEL_SIGNING_KEY: {key}: " in done.stderr
    assert got in done.stderr
    assert "Traceback" not in done.stderr
