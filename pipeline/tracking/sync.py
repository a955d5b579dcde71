"""Syncs MLflow with one revision of a DVC repository: a parent run for the version, a child run for each result of a
stage, the models that `artifacts:` in dvc.yaml declares.

Every operation is idempotent. A result that has its run is linked, never logged again; a file that cannot be had is
named in the tag `sync.missing` of the run, and the next sync completes it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import PipelineError
from pipeline.tracking import view
from pipeline.tracking.contents import IMAGES, Curves, flatten, parse, read_curves, read_metrics
from pipeline.tracking.dvc_repository import DIRECTORY, DvcRepository
from pipeline.tracking.executions import read_execution
from pipeline.tracking.mlflow_store import PARENT, DataSet, MlflowStore, Run
from pipeline.tracking.origin import Origin
from pipeline.tracking.registry import ModelVersion, Registry
from pipeline.tracking.version import Artifact, Plot, Stage, Version, named

MISSING_TAG: Final = "sync.missing"
NONE: Final = "none"  # the hash of what the version has not got
HARDWARE: Final = ("device", "precision", "threads", "host")  # of the parent: those of the longest stage


class Sync:
    """One version of a repository, to be logged to a store. Methods may raise what `mlflow_errors` converts."""

    def __init__(self, store: MlflowStore, repository: DvcRepository, origin: Origin) -> None:
        self.store, self.repository, self.origin = store, repository, origin
        self.version: Version = repository.version()
        self._missing_params = dict(repository.missing)
        repository.missing.clear()
        self.left_out: dict[str, str] = {}
        """Files that could not be had or read, with the reason."""
        self._problems: dict[str, str] = {}
        self.model_tags: dict[str, str] = {}
        """Of the model that was registered last, as this version has them."""

    def log(self) -> tuple[Run, list[ModelVersion]]:
        """The parent run and the registered models, found, completed or created."""
        self.store.set_experiment_tags(view.experiment_tags(self._columns()))
        children = {stage.name: self.log_stage(stage) for stage in self.version.stages}
        parent = self.log_version(children)
        for run in children.values():
            self.store.set_tags(run, {PARENT: active_parent(self.store, run, parent.info.run_id)})
        models = list(self._register(parent, children))
        self._take_missing()
        return parent, models

    def log_stage(self, stage: Stage) -> Run:
        """The finished child run of a stage's result."""
        store = self.store
        identity = {"dvc.stage": stage.name, "dvc.key": stage.key, "dvc.inputs_key": stage.inputs_key}
        run = store.find_run({"dvc.stage": stage.name, "dvc.key": stage.key}, delete_others=True)
        live = find_live_run(store, stage)
        if run and live and store.changed(f"run {stage.name}: delete the one of a training with the same result"):
            store.client.delete_run(live.info.run_id)
        if run and run.info.status == "FINISHED" and MISSING_TAG not in run.data.tags:
            if self.repository.is_workspace:
                store.log_artifacts(run, self._reported(stage), _folder(stage))  # again, if they were lost
            return run
        execution = read_execution(self.origin.root, stage.name, stage.inputs_key)
        start, end = execution.start or self.origin.time, execution.end or self.origin.time
        run = run or (store.wait_until_finished(live) if live else store.create_run(stage.name, identity, start))
        name = execution.user or self.origin.user
        user = {"mlflow.user": name} if name else {}
        origin = {tag: value for tag, value in (user | dict(self.origin.tags)).items() if tag not in run.data.tags}
        store.set_tags(run, identity | origin | dict(execution.tags) | _declared(stage))
        store.log_params(run, dict(flatten(named(stage.params))))
        metrics = self._metrics(stage.metrics) | dict(execution.metrics)
        store.log_metrics(run, _points(metrics) | self._curves(self._plots(stage), metrics), start)
        store.log_inputs(run, self._datasets(stage.data, stage.name) + self._datasets(stage.outs, "output"))
        store.log_artifacts(run, self._reported(stage), _folder(stage))
        self._name_missing(run)
        store.end_run(run, end)
        return run if store.dry_run else store.client.get_run(run.info.run_id)

    def log_version(self, children: Mapping[str, Run]) -> Run:
        """The finished parent run of the version, whose stages have the runs `children`."""
        store, version = self.store, self.version
        start = min((run.info.start_time for run in children.values() if run.info.start_time), default=None)
        identity = {"dvc.version": version.key}
        parent = store.find_run(identity, delete_others=True) or store.create_run(self._name(), identity, start)
        links = {f"stage.{name}": run.info.run_id for name, run in children.items()}
        sources = {f"{source.path}.md5": source.md5 for source in version.sources}
        sources |= {f"{source.path}.origin": source.origin for source in version.sources if source.origin}
        is_clean = parent.data.tags.get("git.dirty") == "false"  # a clean commit is kept, a dirty one replaced
        store.set_tags(parent, sources | links | ({} if is_clean else dict(self.origin.tags)))
        is_finished = parent.info.status == "FINISHED"
        # A finished run keeps its dvc.lock: later changes to it, such as those of `track`, are not of the version.
        described = {path: file for path in version.files if (file := self.repository.read(path))}
        store.log_artifacts(parent, described, compare_sizes=not is_finished)
        if is_finished and MISSING_TAG not in parent.data.tags:
            return parent
        seconds = {name: run.data.metrics["seconds"] for name, run in children.items() if "seconds" in run.data.metrics}
        total = {"seconds": sum(seconds.values())} if seconds else {}
        longest = children[max(seconds, key=lambda name: seconds[name])] if seconds else None
        hardware = {name: longest.data.tags[name] for name in HARDWARE if longest and name in longest.data.tags}
        users = [run.data.tags["mlflow.user"] for run in children.values() if "mlflow.user" in run.data.tags]
        user = (longest.data.tags.get("mlflow.user") if longest else None) or (users[-1] if users else None)
        store.set_tags(parent, hardware | ({"mlflow.user": user} if user else {}))
        store.log_params(parent, dict(flatten(named(version.params))))
        metrics = self._all_metrics | total
        plots = [*(plot for stage in version.stages for plot in stage.plots), *version.plots]
        store.log_metrics(parent, _points(metrics) | self._curves(plots, metrics), start)
        store.log_inputs(parent, self._datasets({each.path: each.md5 for each in version.sources}, "source"))
        store.set_tags(parent, {"mlflow.note.content": self._note(children)})
        self.repository.missing |= self._missing_params
        self._name_missing(parent)
        store.end_run(parent, start + round(1000 * total.get("seconds", 0)) if start else None)
        return parent if store.dry_run else store.client.get_run(parent.info.run_id)

    def _name(self) -> str:
        """Of the parent run: that of the experiment, or of the model or repository with the version's key."""
        models = [_model_name(artifact) for artifact in self._models()]
        return self.origin.experiment or f"{models[0] if models else self.origin.root.name}-{self.version.key[:8]}"

    def _note(self, children: Mapping[str, Run]) -> str:
        """Text in the UI: links to the runs of the stages, then the models' descriptions."""
        experiment = self.store.experiment_id
        links = (f"[{name}](#/experiments/{experiment}/runs/{run.info.run_id})" for name, run in children.items())
        texts = (self._description(artifact) for artifact in self._models())
        return "\n\n".join([f"Stages: {' · '.join(links)}", *(text for text in texts if text)])

    def _name_missing(self, run: Run) -> None:
        """Set or remove the run's tag about what could not be had or read of it."""
        if missing := self._take_missing():
            self.store.set_tags(run, {MISSING_TAG: ", ".join(sorted(missing))})
        else:
            self.store.delete_tag(run, MISSING_TAG)

    def _take_missing(self) -> dict[str, str]:
        """What could not be had or read since the last call: the next run that needs it looks for it again."""
        missing = {**self.repository.missing, **self._problems}
        self.repository.missing.clear()
        self._problems.clear()
        self.left_out |= missing
        return missing

    # What the files of the version contain

    def _file(self, path: str) -> Path | None:
        """A file of the version by its hash; one without a hash, as it is in the workspace or commit."""
        if md5 := self.hash(path):
            return self.repository.file(path, md5)
        return None if self.version.writer(path) else self.repository.read(path)

    def hash(self, path: str) -> str | None:
        """DVC's hash of a file or folder of the version, also of a file in a folder that a stage writes."""
        stage = self.version.writer(path)
        if (md5 := self.version.hash_of(path)) or stage is None:
            return md5
        out = next(out for out in stage.outs if path.startswith(f"{out}/"))
        return (self.repository.listing(out, stage.outs[out]) or {}).get(path)

    def _metrics(self, paths: Iterable[str]) -> dict[str, float]:
        """The numbers in these files. A name that a file before has gets the file's path in front: so those after a
        file that cannot be had wait for it."""
        found: dict[str, float] = {}
        for path in paths:
            file = self._file(path)
            if file is None:
                break
            try:
                values = read_metrics(file)
            except (OSError, ValueError) as error:
                self._problems[path] = f"expected metrics, got: {error}"
                continue
            found |= {_qualified(path, name) if name in found else name: value for name, value in values.items()}
        return found

    @cached_property
    def _all_metrics(self) -> dict[str, float]:
        paths = [path for stage in self.version.stages for path in stage.metrics]
        return self._metrics([*paths, *(path for path in self.version.metrics if path not in paths)])

    def _plots(self, stage: Stage) -> list[Plot]:
        """The plots of the stage, and those of the top level whose files it writes."""
        return [*stage.plots, *(plot for plot in self.version.plots if self.version.writer(plot.path) is stage)]

    def _tables(self, plots: Iterable[Plot]) -> Iterator[Plot]:
        """The plots of one file each: those of a folder are of the files in it."""
        for plot in plots:
            inside = [path for path in self._below(plot.path) if path != plot.path]
            yield from (replace(plot, path=path) for path in inside) if inside else [plot]

    def _curves(self, plots: Iterable[Plot], metrics: Iterable[str]) -> Curves:
        """The columns of these plots as curves; a name that one of these metrics, or another file's column, has gets
        the file's path in front: so they wait for what of it cannot be had."""
        found: Curves = {}
        owner = dict.fromkeys(metrics, "")
        for plot in self._tables(plots):
            if not plot.is_curve or Path(plot.path).suffix.lower() in IMAGES:
                continue
            file = self._file(plot.path)
            if self.repository.missing or file is None:
                break
            try:
                curves = read_curves(file, plot)
            except (OSError, ValueError) as error:
                self._problems[plot.path] = f"expected a table, got: {error}"
                continue
            for name, points in curves.items():
                is_free = owner.setdefault(name, plot.path) == plot.path
                found[name if is_free else _qualified(plot.path, name)] = points
        return found

    def _reported(self, stage: Stage) -> dict[str, Path]:
        """The files of the stage to look at: metrics, plots, and the outputs with a `type`."""
        paths = dict.fromkeys((*stage.metrics, *(plot.path for plot in self._plots(stage)), *stage.reports))
        return {name: file for path in paths for name in self._below(path) if (file := self._file(name))}

    def _below(self, path: str) -> list[str]:
        """The files in a folder that a stage writes; a file itself."""
        stage = self.version.writer(path)
        out = next((out for out in stage.outs if f"{path}/".startswith(f"{out}/")), None) if stage else None
        if not stage or not out or not stage.outs[out].endswith(DIRECTORY):
            return [path]
        listed = self.repository.listing(out, stage.outs[out]) or {}
        return [name for name in listed if f"{name}/".startswith(f"{path}/")]

    def _datasets(self, hashes: Mapping[str, str], context: str) -> list[DataSet]:
        """Files or folders as MLflow's data sets: the name is the path, the digest DVC's hash."""
        return [DataSet(path, md5, self.repository.address(path, md5), context) for path, md5 in hashes.items()]

    # Models

    def _columns(self) -> list[str]:
        """The metrics that the models' settings name as columns of MLflow's table of runs."""
        columns = [artifact.settings.get("columns") for artifact in self._models()]
        return [str(name) for names in columns if isinstance(names, list) for name in names]

    def _models(self) -> list[Artifact]:
        return [artifact for artifact in self.version.artifacts if artifact.type == "model"]

    def _evaluated_on(self, artifact: Artifact) -> dict[str, DataSet]:
        """The data sets that the artifact's settings name, by the beginning of their metrics' names."""
        declared = artifact.settings.get("datasets")
        paths = {str(key): str(path) for key, path in declared.items()} if isinstance(declared, Mapping) else {}
        hashes = {path: md5 for path in paths.values() if (md5 := self.hash(path))}
        data = {each.name: each for each in self._datasets(hashes, "evaluation")}
        return {key: data[path] for key, path in paths.items() if path in data}

    def _description(self, artifact: Artifact) -> str | None:
        """The text of the file that the artifact's settings name, else its own `desc`."""
        path = artifact.settings.get("description")
        file = self._file(str(path)) if path else None
        return file.read_text(encoding="utf-8", errors="replace") if file else artifact.desc

    def _tags(self, artifact: Artifact) -> dict[str, str]:
        """The tags that the artifact's settings declare: the hash of a path, or `file:key` for a value in the file."""
        tags = {}
        declared = artifact.settings.get("tags")
        for name, value in declared.items() if isinstance(declared, Mapping) else ():
            path, _, key = str(value).partition(":")
            tags[str(name)] = self._value(path, key) if key else self.hash(path) or NONE
        return tags

    def _value(self, path: str, key: str) -> str:
        file = self._file(path)
        try:
            tree: Any = parse(file) if file else {}
            return str(dict(flatten(tree)).get(key, NONE)) if isinstance(tree, Mapping) else NONE
        except (OSError, ValueError, PipelineError) as error:
            self._problems[path] = f"expected metrics, got: {error}"
            return NONE

    def _register(self, parent: Run, children: Mapping[str, Run]) -> Iterator[ModelVersion]:
        """The registered versions of the models that the version declares."""
        registry = Registry(self.store)
        for artifact in self._models():
            file = self._file(artifact.path)
            if file is None:
                self.repository.missing.setdefault(artifact.path, "it is neither an output nor a file")
                continue
            if not file.is_file():
                self._problems[artifact.path] = "expected a file to register, got a folder"
                continue
            writer = self.version.writer(artifact.path)
            run = children[writer.name] if writer else parent
            tags = {
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "parent_run": parent.info.run_id,
                **self._tags(artifact),
                **({"labels": ", ".join(artifact.labels)} if artifact.labels else {}),
            }
            self.model_tags = tags
            description = self._description(artifact)
            version = registry.sync(run, _model_name(artifact), file, tags, description, artifact.desc)
            if version:
                params, metrics = dict(flatten(named(self.version.params))), self._all_metrics
                registry.complete(version, parent, params, metrics, self._evaluated_on(artifact))
                yield version


def find_live_run(store: MlflowStore, stage: Stage) -> Run | None:
    """The run that `live_follower` created for the stage, as long as its result is not logged."""
    run = store.find_run({"dvc.stage": stage.name, "dvc.inputs_key": stage.inputs_key})
    return run if run and "dvc.key" not in run.data.tags else None


def active_parent(store: MlflowStore, run: Run, parent_id: str) -> str:
    """The parent of the run; `parent_id` if it has none, or one that was deleted."""
    current = run.data.tags.get(PARENT, parent_id)
    return current if current == parent_id or store.is_active(current) else parent_id


def _declared(stage: Stage) -> dict[str, str]:
    """What dvc.yaml says about the stage: `desc` as MLflow's note, `meta` as tags."""
    texts = {"mlflow.note.content": stage.desc} if stage.desc else {}
    meta = {name: value for name, value in stage.meta.items() if name != "mlflow"}
    return texts | {f"meta.{name}": str(value) for name, value in flatten(meta)}


def _points(values: Mapping[str, float]) -> Curves:
    return {name: {0: value} for name, value in values.items()}


def _qualified(path: str, name: str) -> str:
    return f"{path.rpartition('.')[0] or path}/{name}"


def _folder(stage: Stage) -> str:
    """The folder in which all outputs of the stage are, so that its run need not show it; empty if there is none."""
    parents = {Path(out).parts[:-1] for out in stage.outs}
    common: list[str] = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)


def _model_name(artifact: Artifact) -> str:
    """The name of the registered model: that of the artifact, unless its settings give another, `name`, or one for that
    name, in `names`."""
    name, names = artifact.settings.get("name", artifact.name), artifact.settings.get("names")
    return re.sub(r"[/:]", "-", str(names.get(name, name) if isinstance(names, Mapping) else name))
