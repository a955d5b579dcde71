"""`make experiment`: run the pipeline with other values than those in params.yaml, as a DVC experiment.

Reads    params.yaml, pipeline/profiles/<name>.yaml.
Writes   nothing in the workspace: DVC works in a temporary copy. The experiment is stored in git, outside the branches,
         its files in DVC's cache, its model in the registry under an alias with the experiment's name.
Decides  nothing. The repository, keys and values are checked before anything is written; an earlier experiment of the
         same name is replaced once the new one has finished.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides, to_hydra_overrides
from hydra.errors import HydraException

from pipeline.core import entrypoint, git, profiles
from pipeline.core.config import PARAMS_FILE, did_you_mean, read
from pipeline.core.errors import ParamsError, RepositoryError
from pipeline.packaging.model_name import dataset_name
from pipeline.tracking.git_tags import RESERVED_ALIASES, alias

METRICS: Final = "artifacts/score/metrics.json"
REF: Final = re.compile(
    r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>[^/]+)"
)  # not DVC's internal refs, such as refs/exps/exec/…


def profile_settings(name: str) -> list[str]:
    """The profile as `section.key=value`. Raises ParamsError, naming its file, if a stage would reject it."""
    settings = profiles.as_set_param(profiles.load(name))
    from pipeline.experiments import preflight  # imports torch, which takes seconds: after the cheap checks

    preflight.check_params()
    preflight.check(profiles.apply(name), profiles.path_of(name))
    return settings


def check_settings(settings: Sequence[str]) -> None:
    """Raise ParamsError unless each is `section.key=value` with a key of params.yaml and a single value."""
    known = [key for key, _ in profiles.flatten(read(), groups=True)]
    for setting in settings:
        try:
            (override,) = to_hydra_overrides([setting])
        except HydraException as error:
            raise ParamsError(f"SET: got {setting!r}, expected section.key=value, as in train.epochs=4") from error
        key = override.key_or_group
        if key not in known:
            hint = did_you_mean(key, (name for name in known if "." in name))
            raise ParamsError(f"SET: {key} is not a setting in {PARAMS_FILE}{hint}")
        if override.is_sweep_override():
            raise ParamsError(
                f"SET: got {setting!r}, expected one value; to try several, queue them:\n"
                f"  {dvc()} exp run --queue --set-param {setting!r}"
            )


def apply_settings(settings: Sequence[str]) -> dict[str, Any]:
    """params.yaml as `dvc exp run --set-param` changes it, validated as a whole. Raises ParamsError."""
    check_settings(settings)
    from pipeline.experiments.preflight import (
        check_params,  # imports torch, which takes seconds: after the cheap checks
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
        params: dict[str, Any] = read(path)
        return params


def experiment_refs() -> dict[str, str]:
    """The commits of DVC's experiments by ref."""
    lines = (git.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or "").splitlines()
    pairs = (line.split(" ", 1) for line in lines)
    return {ref: commit for ref, commit in pairs if REF.fullmatch(ref)}


def run(name: str | None, settings: Sequence[str]) -> str:
    """Run the experiment and return its ref. Raises RepositoryError if DVC fails or stores no experiment."""
    head = git.git("rev-parse", "HEAD") or ""
    replaced = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    earlier = experiment_refs()
    if replaced in earlier:
        git.git("update-ref", "-d", replaced)
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", *(["--name", name] if name else [])]
    # DVC starts the stages with the `python` on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = git.with_identity(os.environ) | {"PATH": path}
    status, new = 1, []
    try:
        status = subprocess.run(
            [*command, *(f"--set-param={setting}" for setting in settings)], env=environment
        ).returncode
        new = [ref for ref, commit in experiment_refs().items() if ref == replaced or earlier.get(ref) != commit]
    finally:
        if replaced in earlier and not new:
            git.git("update-ref", replaced, earlier[replaced])
    if status != 0:
        raise RepositoryError(f"DVC exited with status {status}, see above; your files are unchanged")
    if not new:
        raise RepositoryError("DVC exited with status 0 but stored no experiment; expected one in `dvc exp show`")
    return new[0]


def dvc() -> str:
    """The `dvc` command for messages: it works here whether or not the environment is activated."""
    path = os.path.relpath(Path(sys.executable).with_name("dvc"))
    return path if not path.startswith("..") else "dvc"


def next_steps(ref: str, dataset: str) -> str:
    """The experiment's accuracy, and the commands to compare, serve, apply and undo it."""
    match = REF.fullmatch(ref)
    assert match  # `experiment_refs` filters by it
    name = match["name"]
    scores = json.loads(git.git("show", f"{ref}:./{METRICS}") or "{}")
    accuracy = ", ".join(
        f"{images} {scores[images]['accuracy']:.2%}" for images in ("test", "handwriting") if images in scores
    )
    other = "" if dataset_name(read()["download"]) == dataset else f"NAME={dataset} "
    first = [] if git.has_identity(os.environ) else [f"first, once    {git.SET_IDENTITY}"]
    return "\n  ".join(
        [
            f"experiment {name!r}: {accuracy}. Your files are unchanged.",
            f"compare        {dvc()} exp diff HEAD {name}",
            f"serve it       make serve {other}ALIAS={name}",
            *first,
            f"get its files  {dvc()} exp apply {name}",
            f"and go back    git checkout . && {dvc()} checkout --allow-missing    (discards all uncommitted changes)",
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.experiments.run", description="Try other parameters.")
    parser.add_argument("--name", help="of the experiment; default: the profile's name, else one that DVC chooses")
    parser.add_argument("--profile", help="start from these settings: pipeline/profiles/<name>.yaml")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    name = arguments.name or arguments.profile
    settings = [*(profile_settings(arguments.profile) if arguments.profile else []), *arguments.settings]
    if not settings:
        raise ParamsError('expected SET="section.key=value …", as in SET="train.epochs=4"')
    if name and not alias(name):
        raise ParamsError(
            f"NAME: got {name!r}, expected letters, digits, _ and -, but not {', '.join(RESERVED_ALIASES)} or a "
            "version such as v1"
        )
    git.check_experiments()
    params = apply_settings(settings)
    ref = run(name, settings)
    print(f"\n{next_steps(ref, dataset_name(params['download']))}")


if __name__ == "__main__":
    entrypoint.run(main)
