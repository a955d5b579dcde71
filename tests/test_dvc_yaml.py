"""dvc.yaml, config.yaml, the modules and the README are kept honest with each other."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from pipeline import download, eda, export, normalise, score, train
from pipeline.core import config
from pipeline.core.config import COMMAND_SECTIONS, SECTIONS
from pipeline.core.environment import PINS_FILE
from pipeline.core.files import read_yaml
from pipeline.core.stage_inputs import declared_params
from tests.support.imports import closure, modules, outside
from tests.support.project_clone import ROOT

DVC_YAML: dict[str, Any] = read_yaml(Path("dvc.yaml"))["stages"]
PARAMS_YAML: dict[str, Any] = read_yaml(Path("params.yaml"))
# What stages import although no byte of a result depends on it: it reads settings and markers, and shows progress.
WITHOUT_EFFECT = {"packaging", "pydantic", "ruamel", "tqdm"}
# Packages through which torch.onnx.export writes a model; no module imports them.
IMPORTED_BY_TORCH = {"export": {"onnx", "onnx-ir", "onnxscript"}}


def paths(entry: dict[str, Any], key: str) -> list[str]:
    return [item if isinstance(item, str) else next(iter(item)) for item in entry.get(key, [])]


def written(stage: str) -> list[str]:
    return [path for key in ("outs", "metrics", "plots") for path in paths(DVC_YAML[stage], key)]


@pytest.mark.parametrize("stage", DVC_YAML)
def test_a_stage_depends_on_exactly_the_modules_that_it_imports(stage: str) -> None:
    code = {path for path in DVC_YAML[stage]["deps"] if path.endswith(".py")}

    assert code == {modules()[name].relative_to(ROOT).as_posix() for name in closure(f"pipeline.{stage}")}


@pytest.mark.parametrize("stage", SECTIONS)
def test_a_stage_depends_on_the_versions_of_exactly_the_packages_that_its_result_comes_from(stage: str) -> None:
    imported = {name for module in closure(f"pipeline.{stage}") for name in outside(module)}
    of_results = imported - sys.stdlib_module_names - WITHOUT_EFFECT
    packages = {packages_distributions()[name][0] for name in of_results} | IMPORTED_BY_TORCH.get(stage, set())

    assert declared_params(DVC_YAML[stage])[str(PINS_FILE)] == sorted(packages)


@pytest.mark.parametrize("stage", SECTIONS)
def test_a_stage_has_one_name_for_its_file_section_command_and_folder(stage: str) -> None:
    assert DVC_YAML[stage]["cmd"] == f"python -m pipeline.{stage}"
    assert list(declared_params(DVC_YAML[stage])["params.yaml"]) == [stage]
    assert all(Path(path).is_relative_to(f"artifacts/{stage}") for path in written(stage))


@pytest.mark.parametrize("stage", SECTIONS)
def test_a_stage_mentions_no_folder_that_dvc_does_not_know_it_to_use(stage: str) -> None:
    mentioned = {
        Path(node.value)
        for node in ast.walk(ast.parse(modules()[f"pipeline.{stage}"].read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("artifacts/")
    }
    known = [Path(path) for path in [*DVC_YAML[stage]["deps"], *written(stage)]]

    for folder in mentioned:
        assert any(path.is_relative_to(folder) or folder.is_relative_to(path) for path in known), folder


def test_track_reads_all_that_was_written_and_all_parameters() -> None:
    everything = {path for stage in SECTIONS for path in written(stage)} | {"data"}

    assert {path for path in DVC_YAML["track"]["deps"] if not path.endswith(".py")} == everything
    assert DVC_YAML["track"]["params"] == list(SECTIONS)


@pytest.mark.parametrize("stage", SECTIONS)
def test_uncached_files_are_metrics_or_plots_else_dvc_would_not_use_its_run_cache(stage: str) -> None:
    entries = [out for out in DVC_YAML[stage].get("outs", []) if not isinstance(out, str)]
    assert all("cache" not in settings for entry in entries for settings in entry.values())


@pytest.mark.parametrize("module", [download, eda, export, normalise, score, train])
def test_every_section_of_params_yaml_is_what_its_stage_expects(module: Any) -> None:
    stage = module.__name__.removeprefix("pipeline.")

    settings = config.load(stage, module.Params)

    assert settings.model_dump() == PARAMS_YAML[stage]


def test_every_section_of_params_yaml_is_that_of_a_stage_or_of_a_command() -> None:
    assert list(PARAMS_YAML) == [*SECTIONS, *COMMAND_SECTIONS]


def test_no_stage_depends_on_the_section_of_a_command() -> None:
    named = {name for entry in DVC_YAML.values() for name in declared_params(entry)["params.yaml"]}

    assert not named & set(COMMAND_SECTIONS)
