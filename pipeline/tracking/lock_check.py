"""Whether dvc.lock and the files on disk agree: what MLflow gets of them is then what was computed."""

from pathlib import Path

from pipeline.core import config
from pipeline.core.errors import DataError, TrackingError
from pipeline.core.files import read_yaml
from pipeline.tracking.dvc_lock import Stage, content_md5, declared, remedy


def check_shape(stages: dict[str, Stage]) -> None:
    """Raise TrackingError if a stage has other data or outputs in dvc.lock than in dvc.yaml."""
    for name, stage in stages.items():
        _, deps, outs = declared(name)
        for kind, got, expected in (("deps", set(stage.deps), deps), ("outs", set(stage.outs), outs)):
            if differing := sorted(path for path in got ^ expected if not path.endswith(".py")):
                raise TrackingError(
                    f"dvc.lock: {name}: got {kind} that differ from dvc.yaml in {', '.join(differing)}; run `dvc repro`"
                )


def check_files(stages: dict[str, Stage]) -> None:
    """Raise TrackingError if an output, or data that a stage reads, is not the one in dvc.lock: one of them is damaged,
    or was changed since."""
    locked = {entry for stage in stages.values() for entry in (*stage.outs.items(), *stage.deps.items())}
    for path, md5 in sorted(locked):
        if not path.endswith(".py") and current_md5(Path(path)) != md5:
            cached = f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
            raise TrackingError(
                f"{path}: got contents that differ from dvc.lock; run `dvc checkout` or `dvc repro`. If that does not "
                f"help, the copy in the cache is damaged: delete {path} and {cached}, then run `dvc repro`"
            )


def current_md5(path: Path) -> str:
    """MD5 of an output on disk; of a folder that `dvc add` tracks the one in its .dvc file, which DVC has just checked
    and which leaves out what .dvcignore names."""
    added = path.with_name(f"{path.name}.dvc")
    if not added.is_file():
        return content_md5(path)
    try:
        return str(read_yaml(added)["outs"][0]["md5"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{added}: expected DVC's YAML with an md5, got: {error}; {remedy(added)}") from error


def outdated(stages: dict[str, Stage]) -> list[str]:
    """The stages whose parameters or code in dvc.lock are not those on disk: edited since, or dvc.lock is damaged."""
    params = config.read()

    def is_current(stage: Stage) -> bool:
        sections, deps, _ = declared(stage.name)
        code = {path: content_md5(Path(path)) for path in deps if path.endswith(".py")}
        locked = {path: md5 for path, md5 in stage.deps.items() if path.endswith(".py")}
        return code == locked and {section: params.get(section) for section in sections} == stage.params

    return [name for name, stage in stages.items() if not is_current(stage)]
