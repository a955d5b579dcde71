"""A registered model is fetched for the shadow as `make serve SHADOW=…` does it."""

import hashlib
from pathlib import Path

from tests.support import project_clone
from tests.support.project_clone import Clone


def test_the_version_with_the_alias_is_fetched_and_named_after_version_and_content(
    computed: Clone, tmp_path: Path
) -> None:
    clone = project_clone.duplicate(computed, tmp_path / "copy")
    (version,) = clone.versions("mnist")

    printed = clone.check_output("python", "-m", "pipeline.packaging.shadow", "--name", "mnist", "--alias", "candidate")
    path = Path((clone.folder / ".cache/shadow/path").read_text())

    assert path.name == f"mnist-v1-{version.tags['sha256'][:8]}.onnx"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == version.tags["sha256"]
    assert f"shadow {path.stem}; " in printed


def test_an_alias_that_nobody_has_is_named(computed: Clone) -> None:
    done = computed.run("python", "-m", "pipeline.packaging.shadow", "--name", "mnist", "--alias", "challenger")

    assert done.returncode == 1
    assert "expected a version with the alias 'challenger' of model 'mnist'" in done.stderr
