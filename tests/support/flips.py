"""`make flips`: single flipped bits in all that a disk keeps between training and answer.

`python -m tests.support.flips FLIPS [CLONE]` flips bits of copies, one at a time, of files of a clone in which the
pipeline has run and `make bento` has stored its Bento in .cache/bentoml; without CLONE it makes one, in a minute. Each
flip has to be refused with a sentence, reported with one (git: "differs from the last commit"; `track`: "note"), or
harmless, which means: what is read from the file is the same. It prints a table as JSON, and fails for a silent flip.

Not covered: the run cache of DVC, which DVC compares with dvc.yaml, and a bit that flips in memory.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from packaging.requirements import InvalidRequirement, Requirement

from pipeline.core import git, stage_inputs
from pipeline.core.errors import PipelineError
from pipeline.model import classifier
from pipeline.tracking import dvc_lock
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.lock_check import check_files, check_shape
from serving.integrity import DamagedModelError, check
from tests.support import project_clone

STORE: Final = ".cache/bentoml"
LOCKS: Final = ("requirements.lock", "serving/requirements.lock")
SEED: Final = 1
REFUSED, REPORTED, HARMLESS, SILENT = "refused", "reported", "harmless", "silent"


class Target(NamedTuple):
    """A file, and what its readers do with it: `judge` returns one of the four outcomes."""

    path: Path
    judge: Callable[[], str]


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def attack(target: Target, flips: int, rng: np.random.Generator) -> Counter[str]:
    """Outcomes of `flips` flipped bits of the target's file, which is restored."""
    content, seen = target.path.read_bytes(), Counter[str]()
    target.path.chmod(0o644)  # DVC's cache is read-only
    try:
        for bit in rng.integers(0, 8 * len(content), flips):
            target.path.write_bytes(flipped(content, int(bit)))
            outcome = target.judge()
            seen[outcome] += 1
            if outcome == SILENT:
                print(f"{target.path}: bit {bit} was flipped and nothing reported it", file=sys.stderr)
    finally:
        target.path.write_bytes(content)
    return seen


def bento_targets(clone: Path) -> dict[str, Target]:
    """The model's file and manifest, as the service checks them when it starts, and the Bento's manifest.

    A flip in what only `make container` takes from bento.yaml is found by the checksums of `make bento` before it.
    """
    import bentoml  # after BENTOML_HOME is set

    from pipeline.packaging.bento import is_intact

    bento = bentoml.bentos.get((clone / ".cache/bento").read_text(encoding="utf-8"))
    folder, expected = Path(bento.path), dict(bento.info.args)
    model = Path(bentoml.models.get(expected["model"]).path)

    def starts() -> str:
        try:
            check(expected["model"], expected["labels"])
        except DamagedModelError:
            return REFUSED
        return HARMLESS

    def serves() -> str:
        try:
            info = bentoml.bentos.get(bento.tag).info
            for stored in info.all_models:
                stored.to_model().resolve()
            check(info.args["model"], info.args["labels"])
        except Exception:  # BentoML lets through what YAML, attrs and cattrs raise: the service does not start
            return REFUSED
        if (info.args, info.service) == (expected, bento.info.service):
            return HARMLESS if not is_intact(folder) else SILENT
        return SILENT if info.args != expected else REFUSED  # another module: there is none

    def model_starts() -> str:  # a harmless flip of model.onnx does not exist: its SHA-256 is another one
        return REFUSED if starts() == REFUSED else SILENT

    return {
        "model.onnx": Target(model / "model.onnx", model_starts),
        "model.yaml": Target(model / "model.yaml", starts),
        "bento.yaml": Target(folder / "bento.yaml", serves),
    }


def weight_targets(folder: Path) -> dict[str, Target]:
    """What `train` wrote, as `score` and `export` read it."""
    trained = classifier.load(folder)

    def judge() -> str:
        try:
            found = classifier.load(folder)
        except PipelineError:
            return REFUSED
        weights = zip(trained.state_dict().values(), found.state_dict().values(), strict=True)
        same = all(torch.equal(one, other) for one, other in weights)
        scaling = (trained.subtract, trained.divide_by) == (found.subtract, found.divide_by)
        return HARMLESS if same and scaling and str(trained) == str(found) else SILENT

    return {
        name: Target(folder / name, judge) for name in ("weights.safetensors", "architecture.json", "manifest.json")
    }


def results() -> dict[str, dvc_lock.Stage]:
    """What dvc.lock says of the stages that MLflow gets."""
    return {name: stage for name, stage in dvc_lock.read_lock().items() if name != "track"}


def judge_dvc_lock(expected: dict[str, dvc_lock.Stage]) -> str:
    """What `make track` makes of dvc.lock."""
    try:
        found = results()
        if found == expected:
            return HARMLESS
        check_shape(found)
        check_files(found)
        with DvcRepository(Path()) as repository:
            return REPORTED if repository.version().incomplete or repository.changed_stages() else SILENT
    except PipelineError:
        return REFUSED


def requirements(text: str) -> list[tuple[str, str, bool, tuple[str, ...]]]:
    """Name, version, whether it is installed here, and hashes of each line. Raises ValueError as pip would."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            head, *hashes = (part.strip() for part in line.split("--hash="))
            parsed = Requirement(head)
            applies = parsed.marker is None or parsed.marker.evaluate()
            found.append((parsed.name, str(parsed.specifier), applies, tuple(hashes)))
    return found


def judge_requirements(path: Path, expected: list[tuple[str, str, bool, tuple[str, ...]]]) -> str:
    """What the installer makes of a lock file; git reports any difference that it would not notice."""
    try:
        if requirements(path.read_text(encoding="utf-8")) == expected:
            return HARMLESS
    except (ValueError, InvalidRequirement):
        return REFUSED
    return REPORTED if git.differing([path]) else SILENT


def judge_object(path: Path, md5: str, listing: object) -> str:
    """What `track` makes of a file that DVC took from its cache; DVC itself reads the listing of a folder."""
    if listing is None:
        return REFUSED if stage_inputs.content_md5(path) != md5 else SILENT
    with contextlib.suppress(ValueError):
        found = json.loads(path.read_bytes())
        return HARMLESS if found == listing else REFUSED  # other names or hashes: not the folder that dvc.lock names
    return REFUSED


def object_targets(cache: Path) -> dict[str, Target]:
    targets = {}
    for path in sorted(path for path in cache.glob("??/*") if path.stat().st_size):
        listing = json.loads(path.read_bytes()) if path.suffix == ".dir" else None
        md5 = path.parent.name + path.name
        targets[f"cache/{md5}"] = Target(path, partial(judge_object, path, md5, listing))
    return targets


def run(clone: Path, flips: int) -> dict[str, Counter[str]]:
    """Outcomes by kind of file, of about as many flips for each kind."""
    rng = np.random.default_rng(SEED)
    os.chdir(clone)
    lock = results()
    objects = object_targets(Path(".dvc/cache/files/md5"))
    targets = bento_targets(clone) | weight_targets(Path("artifacts/train/model"))
    targets["dvc.lock"] = Target(stage_inputs.LOCK_FILE, partial(judge_dvc_lock, lock))
    for name in LOCKS:
        expected = requirements(Path(name).read_text(encoding="utf-8"))
        targets[name] = Target(Path(name), partial(judge_requirements, Path(name), expected))
    each = -(-flips // (len(targets) + 1))
    seen = {name: attack(target, each, rng) for name, target in targets.items()}
    names = rng.choice(list(objects), each)
    seen["DVC's cache"] = sum((attack(objects[name], 1, rng) for name in names), Counter[str]())
    return seen


def make(folder: Path) -> Path:
    """A clone in which a small pipeline has run, with its Bento."""
    clone = project_clone.make(folder)
    clone.check_output("dvc", "repro")
    clone.check_output("git", "add", "--all")
    clone.check_output("git", "commit", "--quiet", "--message", "results")
    clone.check_output(
        "python", "-m", "pipeline.packaging.bento", "--alias", "candidate", BENTOML_HOME=str(folder / STORE)
    )
    return folder


def main() -> None:
    flips = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(sys.argv[2]) if len(sys.argv) > 2 else make(Path(temporary) / "clone")
        os.environ["BENTOML_HOME"] = str(clone / STORE)
        with contextlib.redirect_stdout(io.StringIO()):  # BentoML logs each damaged file
            seen = run(clone, flips)
        os.chdir("/")
    print(json.dumps(seen, indent=1))
    total = sum(seen.values(), Counter[str]())
    print(f"{total.total()} flips: {', '.join(f'{count} {outcome}' for outcome, count in sorted(total.items()))}")
    sys.exit(f"error: {total[SILENT]} flips were silent" if total[SILENT] else 0)


if __name__ == "__main__":
    main()
