"""Whether a stored model is the one with which the Bento was built.

The Bento holds a copy of the model's tag and labels, among them the SHA-256 of its file, outside of the model's own
folder. So a damaged file, a damaged manifest and a damaged Bento all differ from their counterpart. BentoML's
supervisor imports this module: it needs neither numpy nor Pillow.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = "model.onnx"
REMEDY: Final = "build the Bento again (`make bento`) or its image"


class DamagedModelError(Exception):
    """One sentence: what was found, what was expected, and where."""


def read_file(path: Path, sha256: str) -> bytes:
    """The content of a file. Raises DamagedModelError unless it has this SHA-256."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedModelError(f"{path}: expected a model, got: {error.strerror}; {REMEDY}") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise DamagedModelError(f"{path}: got SHA-256 {got}, the Bento expects {sha256}; {REMEDY}")
    return content


def check(tag: str, labels: Mapping[str, str]) -> None:
    """Raise DamagedModelError unless the model with this tag in BentoML's store has these labels and its file the
    SHA-256 that they name."""
    from bentoml.models import BentoModel  # not for serving.model, which works without BentoML

    try:
        stored = BentoModel(tag).resolve()
    except Exception as error:  # BentoML lets through what YAML, attrs, cattrs and the file system raise
        raise DamagedModelError(f"model {tag}: BentoML cannot read it: {_one_line(error)}; {REMEDY}") from error
    if str(stored.tag) != tag:
        raise DamagedModelError(f"{stored.path_of('model.yaml')}: got tag {stored.tag}, expected {tag}; {REMEDY}")
    found = stored.info.labels
    if differing := sorted(name for name in {*found, *labels} if found.get(name) != labels.get(name)):
        name = differing[0]
        got, expected = repr(found.get(name, "none")), repr(labels.get(name, "none"))
        where = f"{stored.path_of('model.yaml')}: label {name!r}"
        raise DamagedModelError(f"{where}: got {got}, the Bento expects {expected}; {REMEDY}")
    read_file(Path(stored.path_of(FILE)), labels.get("sha256", "in its labels"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
