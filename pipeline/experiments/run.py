"""`make experiment`: other values than those in params.yaml, tried as a DVC experiment.

Reads    params.yaml, pipeline/profiles/<name>.txt.
Writes   nothing in the workspace: DVC computes in a temporary copy. The experiment is kept in git, out of the branches,
         its files in DVC's cache, its model in the registry under an alias of the experiment's name.
Decides  nothing. Place, keys and values are checked before anything is written; an earlier experiment of the same name
         is replaced when the new one has come to an end.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides, to_hydra_overrides
from hydra.errors import HydraException

from pipeline.core import entrypoint, git
from pipeline.core.config import PARAMS_FILE, did_you_mean
from pipeline.core.errors import ParamsError, RepositoryError
from pipeline.core.files import read_yaml
from pipeline.tracking.git_tags import RESERVED_ALIASES, alias

PROFILES: Final = Path("pipeline/profiles")
METRICS: Final = "artifacts/score/metrics.json"
REF: Final = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>[^/]+)")  # DVC's own lie in refs/exps/exec, …


def profile(name: str) -> list[str]:
    """The settings in a profile: its lines, without what follows a `#`."""
    try:
        lines = (PROFILES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        known = sorted(path.stem for path in PROFILES.glob("*.txt"))
        raise ParamsError(f"{PROFILES}: got {name!r}, expected one of {', '.join(known)}") from error
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names of all settings and groups in params.yaml."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def check_settings(settings: Sequence[str], tree: Mapping[str, Any]) -> None:
    """Raise ParamsError unless each is `section.key=value` with one value and a key that `tree` holds."""
    known = list(dotted(tree))
    for setting in settings:
        try:
            (override,) = to_hydra_overrides([setting])
        except HydraException as error:
            raise ParamsError(f"SET: got {setting!r}, expected section.key=value, as in train.epochs=4") from error
        key = override.key_or_group
        if key not in known:
            meant = did_you_mean(key, (name for name in known if "." in name))
            raise ParamsError(f"SET: {key} is not a setting in {PARAMS_FILE}{meant}")
        if override.is_sweep_override():
            raise ParamsError(
                f"SET: got {setting!r}, expected one value; to try several, queue them:\n"
                f"  {dvc()} exp run --queue --set-param {setting!r}"
            )


def with_settings(settings: Sequence[str]) -> dict[str, Any]:
    """params.yaml as `dvc exp run --set-param` changes it, checked as a whole. Raises ParamsError."""
    check_settings(settings, read_yaml(PARAMS_FILE))
    from pipeline.experiments.preflight import (
        check_params,  # it imports torch: seconds that nobody waits for a misspelt key
    )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(PARAMS_FILE, folder))
        try:
            apply_overrides(path, list(settings))
            check_params(path)
        except DvcException as error:
            raise ParamsError(f"SET: expected settings that DVC can apply, got: {error.__cause__ or error}") from error
        except ParamsError as error:
            raise ParamsError(f"SET: {str(error).removeprefix(f'{path}: ')}") from error
        tree: dict[str, Any] = read_yaml(path)
        return tree


def experiments() -> dict[str, str]:
    """The commits of DVC's experiments by their refs."""
    listed = (git.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or "").splitlines()
    pairs = (line.split(" ", 1) for line in listed)
    return {ref: commit for ref, commit in pairs if REF.fullmatch(ref)}


def run(name: str | None, settings: Sequence[str]) -> str:
    """Make the experiment and return its ref. Raises RepositoryError when DVC fails, or has no experiment after it."""
    head = git.git("rev-parse", "HEAD") or ""
    replaced = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    earlier = experiments()
    if replaced in earlier:
        git.git("update-ref", "-d", replaced)
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", *(["--name", name] if name else [])]
    # DVC starts the stages by the `python` of PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = git.with_identity(os.environ) | {"PATH": path}
    status, made = 1, []
    try:
        status = subprocess.run(
            [*command, *(f"--set-param={setting}" for setting in settings)], env=environment
        ).returncode
        made = [ref for ref, commit in experiments().items() if ref == replaced or earlier.get(ref) != commit]
    finally:
        if replaced in earlier and not made:
            git.git("update-ref", replaced, earlier[replaced])
    if status != 0:
        raise RepositoryError(f"DVC ended with status {status}, see above; your files are as they were")
    if not made:
        raise RepositoryError("DVC ended well, but has no new experiment; expected one in `dvc exp show`")
    return made[0]


def dvc() -> str:
    """The command as it can be typed here, whether or not the environment is activated."""
    beside = os.path.relpath(Path(sys.executable).with_name("dvc"))
    return beside if not beside.startswith("..") else "dvc"


def next_steps(ref: str, dataset: str) -> str:
    """How well it went, and what can be done with it."""
    match = REF.fullmatch(ref)
    assert match  # `experiments` found it so
    name = match["name"]
    scores = json.loads(git.git("show", f"{ref}:./{METRICS}") or "{}")
    went = ", ".join(f"{images} {score['accuracy']:.2%}" for images, score in sorted(scores.items(), reverse=True))
    other = "" if read_yaml(PARAMS_FILE)["download"]["dataset"] == dataset else f"NAME={dataset} "
    first = [] if git.has_identity(os.environ) else [f"first, once    {git.SET_IDENTITY}"]
    return "\n  ".join(
        [
            f"experiment {name!r}: {went}. Your files are as they were.",
            f"compare        {dvc()} exp diff HEAD {name}",
            f"serve it       make serve {other}ALIAS={name}",
            *first,
            f"get its files  {dvc()} exp apply {name}",
            f"and go back    git checkout . && {dvc()} checkout --allow-missing    (drops all that is not committed)",
        ]
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.experiments.run", description="Try other values.")
    parser.add_argument("--name", help="of the experiment; the profile's, or one that DVC makes up, if left out")
    parser.add_argument("--profile", help="settings to begin with: pipeline/profiles/<name>.txt")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    return parser.parse_args()


def main() -> None:
    wanted = arguments()
    name = wanted.name or wanted.profile
    settings = [*(profile(wanted.profile) if wanted.profile else []), *wanted.settings]
    if not settings:
        raise ParamsError('expected SET="section.key=value …", as in SET="train.epochs=4"')
    if name and not alias(name):
        raise ParamsError(
            f"NAME: got {name!r}, expected letters, digits, _ and -, none of {', '.join(RESERVED_ALIASES)}, and no v1"
        )
    git.check_experiments()
    changed = with_settings(settings)
    ref = run(name, settings)
    print(f"\n{next_steps(ref, changed['download']['dataset'])}")


if __name__ == "__main__":
    entrypoint.run(main)
