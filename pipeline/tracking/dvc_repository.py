"""A DVC repository at one revision, read through DVC's own classes: templates, several dvc.yaml, imports, `.dvc` files.

Files are read by their hash: from the workspace or the commit, from the cache, or from a remote, whichever has the
contents that dvc.lock names.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Final, Self

from dvc.dependency.param import read_param_file
from dvc.dvcfile import PROJECT_FILE
from dvc.exceptions import DvcException
from dvc.fs import GitFileSystem
from dvc.repo import Repo
from dvc.scm import SCM
from dvc.stage import PipelineStage
from dvc_data.hashfile.hash import file_md5
from dvc_objects.errors import ObjectDBError
from scmrepo.exceptions import SCMError

from pipeline.core.errors import TrackingError
from pipeline.core.files import parse_json
from pipeline.core.stage_inputs import content_md5
from pipeline.tracking.version import Artifact, Plot, Source, Stage, Version, is_code

DIRECTORY: Final = ".dir"
LEGACY: Final = "md5-dos2unix"  # the hash of text in files of DVC 2


class DvcRepository:
    """The repository around `path` at `revision`; None is the workspace. A context: it holds copies of files."""

    def __init__(self, path: Path, revision: str | None = None) -> None:
        self.missing: dict[str, str] = {}
        """Files that could not be had, with the reason."""
        self._failure = ""
        """Why the remote could not be read, which is then not asked again."""
        with dvc_errors(path, revision):
            self.repo = Repo(str(path)) if revision is None else _at(path, revision)
            self.is_workspace = revision is None
            top = Path(self.repo.root_dir if revision is None else self.repo.scm.root_dir)
            self.root = top if revision is None else top / self.repo.root_dir.lstrip("/")
            self._legacy = {out.hash_name for out in self.repo.index.outs} == {LEGACY}
        self._copies = tempfile.TemporaryDirectory(prefix="tracking-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._copies.cleanup()
        self.repo.close()

    def version(self) -> Version:
        """What DVC knows of this revision, without the stages whose meta says `mlflow: false`.

        Raises TrackingError if dvc.yaml or dvc.lock cannot be read.
        """
        with dvc_errors(self.root, None):
            index = self.repo.index
            stages, incomplete = list[Stage](), list[str]()
            for stage in index.stages:
                if not isinstance(stage, PipelineStage) or (stage.meta or {}).get("mlflow") is False:
                    continue
                read = self._stage(stage)
                if read is None:
                    incomplete.append(self._name(stage))
                else:
                    stages.append(read)
            return Version(
                tuple(_in_order(stages)),
                tuple(incomplete),
                tuple(self._artifacts()),
                tuple(self._sources()),
                tuple(path for file, paths in index._metrics.items() for path in self._beside(file, paths)),
                tuple(self._top_level_plots()),
                self._params(stages),
                tuple(self._files()),
            )

    def outs(self) -> list[str]:
        """The paths that stages write."""
        stages = [stage for stage in self.repo.index.stages if isinstance(stage, PipelineStage)]
        return [self._path(out.fs_path) for stage in stages for out in stage.outs]

    def changed_stages(self) -> list[str]:
        """The stages whose parameters or code in the workspace are not those in dvc.lock."""
        with dvc_errors(self.root, None):
            return [
                self._name(stage)
                for stage in self.repo.index.stages
                if isinstance(stage, PipelineStage)
                and (stage.meta or {}).get("mlflow") is not False
                and any(dep.workspace_status() for dep in stage.deps if dep in stage.params or is_code(str(dep)))
            ]

    def _name(self, stage: PipelineStage) -> str:
        """The stage as a target of DVC's commands: its name, after the path of a dvc.yaml that is not at the top."""
        file = self._path(stage.path)
        return str(stage.name) if file == PROJECT_FILE else f"{file}:{stage.name}"

    def _path(self, path: str) -> str:
        return PurePosixPath(self.repo.fs.relpath(path, self.repo.root_dir)).as_posix()

    def _beside(self, dvc_file: str, paths: list[str]) -> Iterator[str]:
        """Paths that a dvc.yaml names, relative to the repository."""
        for path in paths:
            yield self._path(self.repo.fs.normpath(self.repo.fs.join(self.repo.fs.parent(dvc_file), path)))

    def _stage(self, stage: PipelineStage) -> Stage | None:
        """The stage's result; None if dvc.lock lacks a part of it."""
        params = {self._path(dep.fs_path): dep.hash_info.value for dep in stage.params}
        deps = {self._path(dep.fs_path): dep.hash_info.value for dep in stage.deps if dep not in stage.params}
        outs = {self._path(out.fs_path): out.hash_info.value for out in stage.outs}
        if any(value is None for value in (*params.values(), *deps.values(), *outs.values())):
            return None
        plots = [(out, out.plot if isinstance(out.plot, dict) else {}) for out in stage.outs if out.plot]
        return Stage(
            self._name(stage),
            params,
            deps,
            outs,
            stage.desc,
            stage.meta or {},
            tuple(self._path(out.fs_path) for out in stage.outs if out.metric),
            tuple(_plot(self._path(out.fs_path), properties) for out, properties in plots),
            tuple(self._path(out.fs_path) for out in stage.outs if out.annot.type),
        )

    def _sources(self) -> Iterator[Source]:
        for stage in self.repo.index.stages:
            if isinstance(stage, PipelineStage):
                continue
            origin = " ".join(str(dep) for dep in stage.deps) if stage.is_import else ""
            for out in stage.outs:
                if out.hash_info.value:
                    yield Source(self._path(out.fs_path), str(out.hash_info.value), origin)

    def _artifacts(self) -> Iterator[Artifact]:
        for file, entries in self.repo.index._artifacts.items():
            for name, entry in entries.items():
                (path,) = self._beside(file, [entry["path"]])
                labels = tuple(entry.get("labels", ()))
                yield Artifact(name, path, entry.get("type"), entry.get("desc"), labels, entry.get("meta") or {})

    def _top_level_plots(self) -> Iterator[Plot]:
        for file, entries in self.repo.index._plots.items():
            for entry in entries:
                for name, properties in ({entry: {}} if isinstance(entry, str) else entry).items():
                    for plot in _plots(name, properties or {}):
                        (path,) = self._beside(file, [plot.path])
                        yield Plot(path, plot.x, plot.y, plot.template)

    def _params(self, stages: list[Stage]) -> dict[str, Mapping[str, Any]]:
        """The values of all parameters: with which the stages ran, and which the top level of dvc.yaml names."""
        found: dict[str, dict[str, Any]] = {}
        for stage in stages:
            for file, values in stage.params.items():
                found.setdefault(file, {}).update(values)
        for file, paths in self.repo.index._params.items():
            for path in self._beside(file, paths):
                try:
                    values = read_param_file(self.repo.fs, self.repo.fs.join(self.repo.root_dir, path))
                except FileNotFoundError:
                    self.missing[path] = self._not_found()
                    continue
                found[path] = {**(values if isinstance(values, dict) else {}), **found.get(path, {})}
        return {path: values for path, values in found.items() if values}

    def _files(self) -> Iterator[str]:
        files = {stage.path for stage in self.repo.index.stages if isinstance(stage, PipelineStage)}
        params = {dep.fs_path for dep in self.repo.index.params}
        for path in sorted({*files, *(path.removesuffix("yaml") + "lock" for path in files), *params}):
            if self.repo.fs.isfile(path):
                yield self._path(path)

    def read(self, path: str) -> Path | None:
        """A file of the workspace or commit as it is there, without a hash; None if it is not."""
        source = self.repo.fs.join(self.repo.root_dir, path)
        return self._copy(self.repo.fs, source, Path(self._copies.name) / path)

    def file(self, path: str, md5: str) -> Path | None:
        """A local copy of a file with this hash, named like it; None, and an entry in `missing`, if there is none."""
        target = Path(self._copies.name) / md5 / path
        if target.is_file():
            return target
        own = self.repo.fs.join(self.repo.root_dir, path)
        if self.is_workspace and Path(own).is_file() and self._hash(Path(own)) == md5:
            return Path(own)
        damaged = False
        for fs, source in ((self.repo.fs, own), *self._objects(md5)):
            copy = self._copy(fs, source, target)
            if copy and self._hash(copy) == md5:
                self.missing.pop(path, None)
                return copy
            if copy:
                damaged |= source != own
                copy.unlink()
        self.missing[path] = "its object in the cache or remote is damaged" if damaged else self._not_found()
        return None

    def _not_found(self) -> str:
        places = "the workspace" if self.is_workspace else "git"
        return f"not in {places}, the cache or a remote{f' ({self._failure})' if self._failure else ''}"

    def listing(self, path: str, md5: str) -> dict[str, str] | None:
        """The files in a folder with their hashes, from DVC's object of the folder, or the folder itself if it is the
        one with this hash; None, and an entry in `missing`, if there is none."""
        folder = self.root / path
        if self.is_workspace and folder.is_dir() and content_md5(folder) == md5:
            found = sorted(file for file in folder.rglob("*") if file.is_file())
            return {file.relative_to(self.root).as_posix(): content_md5(file) for file in found}
        for fs, source in self._objects(md5):
            if copy := self._copy(fs, source, Path(self._copies.name) / md5):
                with contextlib.suppress(ValueError):
                    return {f"{path}/{entry['relpath']}": str(entry["md5"]) for entry in parse_json(copy.read_bytes())}
        self.missing[path] = self._not_found()
        return None

    def address(self, path: str, md5: str) -> str:
        """Where a file or folder can be had: in the default remote, if there is one, or else in the repository."""
        with contextlib.suppress(DvcException, ObjectDBError):
            remote = self.repo.cloud.get_remote_odb(hash_name=LEGACY if self._legacy else "md5")
            if remote.fs.protocol != "local":
                return str(remote.fs.unstrip_protocol(remote.oid_to_path(md5)))
        return str(self.root / path)

    def _objects(self, md5: str) -> Iterator[tuple[Any, str]]:
        """Where the contents with this hash can be: the cache's object, and the default remote's."""
        cache = self.repo.cache.legacy if self._legacy else self.repo.cache.local
        with contextlib.suppress(DvcException):
            yield cache.fs, cache.oid_to_path(md5)
        if self._failure:
            return
        with contextlib.suppress(DvcException, ObjectDBError):
            remote = self.repo.cloud.get_remote_odb(hash_name=LEGACY if self._legacy else "md5")
            yield remote.fs, remote.oid_to_path(md5)

    def _hash(self, path: Path) -> str:
        return str(file_md5(str(path), name=LEGACY if self._legacy else "md5"))

    def _copy(self, fs: Any, source: str, target: Path) -> Path | None:
        """A copy of a file; None if there is no such file, or the remote fails, which is then not asked again."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fs.get_file(source, str(target))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            target.unlink(missing_ok=True)
            return None
        except Exception as error:  # each kind of remote has errors of its own, which have no base in common
            self._failure = _one_line(error)
            target.unlink(missing_ok=True)
            return None
        return target


def _at(path: Path, revision: str) -> Repo:
    """The repository around `path` at a revision of git; `Repo(path, rev=…)` looks for it at the top of git's tree."""
    scm = SCM(str(path))
    folder = path.resolve().relative_to(Path(scm.root_dir).resolve())
    return Repo(f"/{folder.as_posix()}".removesuffix("."), fs=GitFileSystem(scm=scm, rev=revision), scm=scm)


@contextlib.contextmanager
def dvc_errors(path: Path, revision: str | None) -> Iterator[None]:
    """Convert every error of DVC to a TrackingError of one sentence."""
    try:
        yield
    except (DvcException, SCMError, ValueError, KeyError) as error:
        reasons = [
            _one_line(each) for each in (error, error.__cause__ or error.__context__) if isinstance(each, Exception)
        ]
        where = f"{path} at {revision}" if revision else str(path)
        raise TrackingError(
            f"{where}: expected a DVC repository that DVC can read, got: {': '.join(dict.fromkeys(reasons))}"
        ) from error


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _in_order(stages: list[Stage]) -> Iterator[Stage]:
    """The stages, each after those whose outputs it reads."""
    rest = list(stages)
    while rest:
        written = {out for stage in rest for out in stage.outs}
        ready = [
            stage
            for stage in rest
            if not any(_overlap(dep, out) for dep in stage.deps for out in written - set(stage.outs))
        ] or rest
        yield from ready
        rest = [stage for stage in rest if stage not in ready]


def _overlap(one: str, other: str) -> bool:
    return PurePosixPath(one).is_relative_to(other) or PurePosixPath(other).is_relative_to(one)


def _plot(path: str, properties: Mapping[str, Any]) -> Plot:
    """A plot of one file. `y` can be a column or a list of columns."""
    y = properties.get("y")
    columns = (y,) if isinstance(y, str) else tuple(y or ())
    return Plot(path, properties.get("x"), columns, properties.get("template"))


def _plots(name: str, properties: Mapping[str, Any]) -> Iterator[Plot]:
    """The plots of one top-level entry: of the file `name`, or of those that its `y` or `x` map to columns."""
    x, y = properties.get("x"), properties.get("y")
    files = y if isinstance(y, Mapping) else {}
    if not files:
        yield _plot(name, {**properties, "x": next(iter(x.values())) if isinstance(x, Mapping) else x})
    for file, columns in files.items():
        yield _plot(file, {**properties, "y": columns, "x": x.get(file) if isinstance(x, Mapping) else x})
