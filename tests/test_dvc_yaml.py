"""dvc.yaml, params.yaml, the modules and the README are kept honest with each other."""

import ast
from pathlib import Path
from typing import Any

import pytest

from pipeline import download, eda, export, normalise, params, score, train
from pipeline.files import read_yaml
from pipeline.track import STAGES

DVC_YAML: dict[str, Any] = read_yaml(Path("dvc.yaml"))["stages"]
PARAMS_YAML: dict[str, Any] = read_yaml(Path("params.yaml"))
PIPELINE = Path("pipeline")
ABOVE = ("preflight", "experiment")  # they run before the stages and know them
MODULES = sorted(path.stem for path in PIPELINE.glob("*.py") if path.stem != "__init__")


def imported(module: str) -> set[str]:
    """Names of all modules that a module of ours imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse((PIPELINE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def closure(module: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules of ours that run when `module` does, itself among them."""
    seen |= {module}
    for name in imported(module):
        leaf = name.removeprefix("pipeline.")
        if name.startswith("pipeline.") and leaf in MODULES and leaf not in seen:
            seen = closure(leaf, seen)
    return seen


def paths(entry: dict[str, Any], key: str) -> list[str]:
    return [item if isinstance(item, str) else next(iter(item)) for item in entry.get(key, [])]


def written(stage: str) -> list[str]:
    return [path for key in ("outs", "metrics", "plots") for path in paths(DVC_YAML[stage], key)]


@pytest.mark.parametrize("stage", DVC_YAML)
def test_a_stage_depends_on_exactly_the_modules_that_it_imports(stage: str) -> None:
    code = {path for path in DVC_YAML[stage]["deps"] if path.endswith(".py")}

    assert code == {f"pipeline/{module}.py" for module in closure(stage)}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_a_result_could_depend_on_is_in_the_package_itself_where_dvc_would_miss_it(module: str) -> None:
    taken = {name.removeprefix("pipeline.") for name in imported(module) if name.startswith("pipeline.")}

    assert {name.split(".")[0] for name in taken} <= set(MODULES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_for_its_file_section_command_and_folder(stage: str) -> None:
    assert DVC_YAML[stage]["cmd"] == f"python -m pipeline.{stage}"
    assert DVC_YAML[stage]["params"] == [stage]
    assert all(Path(path).is_relative_to(f"artifacts/{stage}") for path in written(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_mentions_no_folder_that_dvc_does_not_know_it_to_use(stage: str) -> None:
    mentioned = {
        Path(node.value)
        for node in ast.walk(ast.parse((PIPELINE / f"{stage}.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("artifacts/")
    }
    known = [Path(path) for path in [*DVC_YAML[stage]["deps"], *written(stage)]]

    for folder in mentioned:
        assert any(path.is_relative_to(folder) or folder.is_relative_to(path) for path in known), folder


def test_track_reads_all_that_was_written_and_all_parameters() -> None:
    everything = {path for stage in STAGES for path in written(stage)} | {"data"}

    assert {path for path in DVC_YAML["track"]["deps"] if not path.endswith(".py")} == everything
    assert DVC_YAML["track"]["params"] == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_uncached_files_are_metrics_or_plots_else_dvc_would_not_use_its_run_cache(stage: str) -> None:
    assert all(isinstance(out, str) for out in DVC_YAML[stage].get("outs", []))


@pytest.mark.parametrize("module", [download, eda, export, normalise, score, train])
def test_every_section_of_params_yaml_is_what_its_stage_expects(module: Any) -> None:
    stage = module.__name__.removeprefix("pipeline.")

    settings = params.load(stage, module.Params)

    assert settings.model_dump() == PARAMS_YAML[stage]


def test_params_yaml_has_no_section_without_a_stage() -> None:
    assert list(PARAMS_YAML) == list(STAGES)


@pytest.mark.parametrize("module", MODULES)
def test_two_modules_import_mlflow_and_no_leaf_imports_a_stage(module: str) -> None:
    names = imported(module)

    assert module in ("record", "registry") or not any(name.split(".")[0] == "mlflow" for name in names)
    assert module in ABOVE or not any(name == f"pipeline.{stage}" for stage in DVC_YAML for name in names)
    assert not any(name.split(".")[0] == "serving" for name in names)


@pytest.mark.parametrize("module", ["download", "eda", "normalise"])
def test_what_trains_no_tensor_imports_no_torch(module: str) -> None:
    assert not any(name.split(".")[0] == "torch" for leaf in closure(module) for name in imported(leaf))


def test_the_image_vocabulary_needs_only_numpy_and_pillow() -> None:
    outside = {name.split(".")[0] for leaf in closure("image") for name in imported(leaf)}

    assert outside & {"torch", "mlflow", "dvc", "matplotlib", "pandas", "torchvision"} == set()
