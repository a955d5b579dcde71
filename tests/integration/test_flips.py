"""A small sample of `make flips`: no single flipped bit is silent."""

import subprocess
import sys
from pathlib import Path

from tests.support import flips
from tests.support.project_clone import ROOT, Clone, duplicate


def test_no_flipped_bit_is_silent(computed: Clone, tmp_path: Path) -> None:
    clone = duplicate(computed, tmp_path / "clone")
    store = str(clone.folder / flips.STORE)
    clone.check_output("python", "-m", "pipeline.packaging.bento", "--alias", "candidate", BENTOML_HOME=store)

    command = [sys.executable, "-m", "tests.support.flips", "100", str(clone.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert '"model.onnx": {\n  "refused": 10\n }' in done.stdout
