"""Whether dvc.lock and the files on disk agree: what MLflow gets of them is then what was computed."""

from pathlib import Path

from pipeline.core.errors import TrackingError
from pipeline.core.stage_inputs import dependency_md5
from pipeline.tracking.dvc_lock import Stage, declared


def check_shape(stages: dict[str, Stage]) -> None:
    """Raise TrackingError if a stage has other data or outputs in dvc.lock than in dvc.yaml."""
    for name, stage in stages.items():
        deps, outs = declared(name)
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
        if not path.endswith(".py") and dependency_md5(Path(path)) != md5:
            cached = f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
            raise TrackingError(
                f"{path}: got contents that differ from dvc.lock; run `dvc checkout` or `dvc repro`. If that does not "
                f"help, the copy in the cache is damaged: delete {path} and {cached}, then run `dvc repro`"
            )
