"""Any DVC repository is read: here one of another project, with templates, two dvc.yaml, an import and a folder."""

import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import TrackingError
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.version import Plot, Stage
from tests.support import foreign_repository
from tests.support.foreign_repository import dvc


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_repository.make(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def foreign(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "foreign", symlinks=True))


def stages_of(folder: Path, revision: str | None = None) -> dict[str, Stage]:
    with DvcRepository(folder, revision) as repository:
        return {stage.name: stage for stage in repository.version().stages}


def only_file(repository: DvcRepository, folder: str, md5: str) -> Path:
    listing = repository.listing(folder, md5)
    assert listing
    ((name, each),) = listing.items()
    file = repository.file(name, each)
    assert file
    return file


def test_all_that_dvc_knows_of_a_revision_is_read(original: Path) -> None:
    with DvcRepository(original) as repository:
        version = repository.version()

    stages = {stage.name: stage for stage in version.stages}
    assert set(stages) == {"prepare@a", "prepare@b", "fit@tree", "fit@line", "draw", "part/dvc.yaml:curve"}
    assert version.incomplete == ("part/dvc.yaml:unfinished",)
    names = list(stages)
    assert names.index("prepare@b") < names.index("fit@tree")
    tree = stages["fit@tree"]
    assert tree.params == {"params.yaml": {"depth": 2}, "other.toml": {"size": 7}}
    assert set(tree.deps) == {"b.txt", "fit.py"}
    assert set(tree.data) == {"b.txt"}
    assert set(tree.outs) == {"tree", "tree.json"}
    assert tree.outs["tree"].endswith(".dir")
    assert (tree.desc, tree.meta) == ("Fit one of two", {"mlflow": {"owner": "Ada"}})
    assert (tree.metrics, tree.reports) == (("tree.json",), ("tree",))
    assert stages["part/dvc.yaml:curve"].plots == (Plot("part/loss.csv", "step", ("loss",)),)
    (model,) = version.artifacts
    assert (model.name, model.path, model.type, model.labels) == ("best", "tree/model.bin", "model", ("small",))
    assert version.writer(model.path) is tree
    (source,) = version.sources
    assert source.path == "source.txt"
    assert source.md5 == version.hash_of("source.txt")
    assert source.origin == "elsewhere.txt"
    assert version.files == (
        "dvc.lock", "dvc.yaml", "other.toml", "params.yaml", "part/dvc.lock", "part/dvc.yaml",
    )  # fmt: skip


def test_a_result_has_the_same_key_in_the_workspace_the_commit_and_with_other_code(foreign: Path) -> None:
    keys = {name: stage.key for name, stage in stages_of(foreign).items()}
    inputs = stages_of(foreign)["fit@tree"].inputs_key
    (foreign / "fit.py").write_text("edited")
    dvc(foreign, "commit", "--force", "fit@tree")
    (foreign / "params.yaml").write_text("depth: 3\n")
    dvc(foreign, "repro", "fit@line")

    changed = stages_of(foreign)

    assert {name: stage.key for name, stage in stages_of(foreign, "HEAD").items()} == keys
    assert {name for name, stage in changed.items() if stage.key != keys[name]} == {"fit@line"}
    assert changed["fit@tree"].inputs_key != inputs


def test_stages_of_which_code_or_parameters_changed_are_named(foreign: Path) -> None:
    with DvcRepository(foreign) as repository:
        assert repository.changed_stages() == []
    (foreign / "fit.py").write_text("edited")
    with DvcRepository(foreign) as repository:
        assert sorted(repository.changed_stages()) == ["fit@line", "fit@tree"]


def test_a_file_is_found_by_its_hash_wherever_it_is(foreign: Path) -> None:
    dvc(foreign, "remote", "add", "--default", "store", str(foreign.parent / "store"))
    dvc(foreign, "push", "tree")
    outs = {**stages_of(foreign)["fit@tree"].outs, **stages_of(foreign)["fit@line"].outs}
    shutil.rmtree(foreign / "tree")  # in the cache still
    (foreign / "line.json").write_text("{}")  # the commit has no other, as metrics are in the cache too

    with DvcRepository(foreign) as repository:
        model = only_file(repository, "tree", outs["tree"])
        metrics = repository.file("line.json", outs["line.json"])
        assert (model.name, model.read_text()) == ("model.bin", "3\n")
        assert metrics
        assert metrics.read_text() == '{"loss":1}\n'
        assert not repository.missing

    shutil.rmtree(foreign / ".dvc/cache")  # in the remote still, all but the metrics
    with DvcRepository(foreign) as repository:
        model = only_file(repository, "tree", outs["tree"])
        assert model.read_text() == "3\n"
        assert repository.file("line.json", outs["line.json"]) is None
        assert list(repository.missing) == ["line.json"]


def test_a_file_in_git_is_read_at_its_commit(foreign: Path) -> None:
    plot = "part/loss.csv"
    md5 = stages_of(foreign)["part/dvc.yaml:curve"].outs[plot]
    (foreign / plot).write_text("edited")

    with DvcRepository(foreign, "HEAD") as repository:
        copy = repository.file(plot, md5)

        assert copy
        assert copy.read_text() == "step,loss\n1,2\n"


def test_a_lock_with_a_merge_conflict_is_an_error_that_names_it(foreign: Path) -> None:
    lock = foreign / "dvc.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text() + "=======\n>>>>>>> other\n")

    with pytest.raises(TrackingError, match=r"dvc\.lock"), DvcRepository(foreign) as repository:
        repository.version()


def test_a_folder_that_is_no_repository_and_a_revision_that_is_none_are_errors(original: Path, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="expected a DVC repository"), DvcRepository(tmp_path):
        pass
    with pytest.raises(TrackingError, match="no-such-branch"), DvcRepository(original, "no-such-branch"):
        pass


def test_a_folder_in_the_workspace_that_is_another_one_is_not_taken_for_the_result(foreign: Path) -> None:
    md5 = stages_of(foreign)["fit@tree"].outs["tree"]
    shutil.rmtree(foreign / ".dvc/cache")
    with DvcRepository(foreign) as repository:
        assert only_file(repository, "tree", md5).read_text() == "3\n"

    (foreign / "tree/model.bin").write_text("another")

    with DvcRepository(foreign) as repository:
        assert repository.listing("tree", md5) is None
        assert list(repository.missing) == ["tree"]
