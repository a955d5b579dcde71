"""A model in a BentoML store of its own, and the command that serves it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.model import Model

TAG: Final = "mnist:v1-0123abcd"
ARGUMENTS: Final = "arguments.json"  # of the Bento
STORE: Final = """
import json, sys, pathlib, bentoml
arguments = json.loads(pathlib.Path(sys.argv[1]).read_text())
with bentoml.models.create(arguments["model"], labels=arguments["labels"]) as stored:
    pathlib.Path(stored.path_of("model.onnx")).write_bytes(pathlib.Path(sys.argv[2]).read_bytes())
"""


def store(model: Model, folder: Path) -> dict[str, str]:
    """Store the model in `folder`; return the environment for its service. In a process of its own: importing BentoML
    raises warnings, which are errors in tests."""
    environment = os.environ | {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "true"}
    labels = {"sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(), "commit": "unknown"}
    (folder / ARGUMENTS).write_text(json.dumps({"model": TAG, "labels": labels}))
    command = [sys.executable, "-c", STORE, str(folder / ARGUMENTS), str(model.path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


def serve_command(folder: Path, port: int, *options: str) -> Sequence[str]:
    """The command that serves the model stored in `folder`."""
    address = ["--host", "127.0.0.1", "--port", str(port), "--arg-file", str(folder / ARGUMENTS)]
    return [sys.executable, "-m", "bentoml", "serve", "serving.service:Digits", *address, *options]
