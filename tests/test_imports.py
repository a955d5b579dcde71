"""Who may import whom: the layout of the repository as rules."""

import ast

import pytest

from tests.support.imports import closure, imported_modules, modules, outside, within

STAGES = ("download", "eda", "normalise", "train", "score", "export", "track")
# The packages of `pipeline`, each with those that it may import. `experiments` runs the stages, and so lies above them.
MAY_IMPORT = {
    "core": (),
    "data": ("core",),
    "model": ("core", "data"),
    "training": ("core", "data", "model"),
    "reports": ("core", "data", "model"),
    "tracking": ("core",),
    "packaging": ("core", "tracking"),
    "experiments": ("core", "training", "tracking", *STAGES),
}
SERVING_TAKES = {"pipeline.core.errors", "pipeline.data.image"}


def packages_of(names: frozenset[str]) -> set[str]:
    """The second part of each name in `pipeline`: a stage or a package."""
    return {name.split(".")[1] for name in names if name.startswith("pipeline.")}


def test_every_module_of_the_pipeline_is_a_stage_or_lies_in_a_package_that_has_its_rule() -> None:
    assert packages_of(frozenset(modules())) == {*STAGES, *MAY_IMPORT}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    for module in within(f"pipeline.{package}"):
        assert packages_of(imported_modules(module)) <= {package, *MAY_IMPORT[package]}, module


@pytest.mark.parametrize("stage", STAGES)
def test_stages_import_no_stage(stage: str) -> None:
    assert packages_of(imported_modules(f"pipeline.{stage}")) <= set(MAY_IMPORT) - {"experiments"}


def test_the_pipeline_never_imports_the_service() -> None:
    for module in within("pipeline"):
        assert not any(name.startswith("serving") for name in imported_modules(module)), module


def test_the_service_takes_from_the_pipeline_the_image_preprocessing_and_the_errors() -> None:
    taken = {name for module in within("serving") for name in closure(module) if name.startswith("pipeline")}

    assert taken == SERVING_TAKES


def test_geometry_knows_nothing_of_http() -> None:
    for module in within("serving.rows"):
        assert not any(name.startswith("serving.http") for name in closure(module)), module


def test_nothing_but_tests_imports_tests_and_what_they_share_imports_none_of_its_users() -> None:
    for module in [*within("pipeline"), *within("serving")]:
        assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in imported_modules(module)), module
    for package, other in (("benchmarks", "docs"), ("docs", "benchmarks")):
        for module in within(package):
            taken = {name for name in imported_modules(module) if name.startswith(("tests", other))}
            assert all(name.startswith("tests.support") for name in taken), module
    for module in within("tests.support"):
        taken = {name for name in imported_modules(module) if name.startswith(("tests", "benchmarks", "docs"))}
        assert all(name.startswith("tests.support") for name in taken), module


@pytest.mark.parametrize("package", ["pipeline", *(f"pipeline.{name}" for name in MAY_IMPORT)])
def test_a_package_itself_holds_nothing_that_a_result_could_depend_on(package: str) -> None:
    """DVC would not see a change there: a stage depends on modules."""
    assert not imported_modules(package)
    if package != "pipeline":
        (docstring,) = ast.parse(modules()[package].read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)


def test_mlflow_is_imported_by_the_two_modules_that_talk_to_it() -> None:
    users = {module for module in within("pipeline", "serving") if "mlflow" in outside(module)}

    assert users == {"pipeline.tracking.mlflow_store", "pipeline.tracking.registry"}


@pytest.mark.parametrize("module", ["pipeline.download", "pipeline.eda", "pipeline.normalise"])
def test_what_trains_no_tensor_imports_no_torch(module: str) -> None:
    assert not any("torch" in outside(name) for name in closure(module))


def test_the_image_preprocessing_needs_only_numpy_and_pillow() -> None:
    needed = {name for module in closure("pipeline.data.image") for name in outside(module)}

    assert needed & {"torch", "mlflow", "dvc", "matplotlib", "pandas", "torchvision"} == set()
