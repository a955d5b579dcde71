"""The import rules of the layout."""

import ast

import pytest

from pipeline.core.config import SECTIONS
from tests.support.imports import closure, imported_modules, modules, outside, within

STAGES = (*SECTIONS, "track")
# The packages of `pipeline` with those that each may import. `experiments` runs the stages, so it is above them.
MAY_IMPORT = {
    "core": (),
    "data": ("core",),
    "model": ("core", "data"),
    "training": ("core", "data", "model"),
    "reports": ("core", "data", "model"),
    "monitoring": ("core",),
    "tracking": ("core",),
    "packaging": ("core", "tracking"),
    "review": ("core", "data"),
    "promotion": ("core", "data", "reports", "tracking", "packaging"),
    "experiments": ("core", "data", "model", "training", "reports", "tracking", "packaging", "promotion", *STAGES),
}
SERVING_MAY_IMPORT = {
    "pipeline.core.errors",
    "pipeline.data.components",
    "pipeline.data.image",
    "pipeline.data.ink",
    "pipeline.data.limits",
    "pipeline.data.lines",
    "pipeline.data.marks",
    "pipeline.data.objects",
    "pipeline.data.picture",
    "pipeline.data.picture_file",
    "pipeline.monitoring.drift",
    "pipeline.monitoring.reference",
}
# Tests of benchmarks/ and docs/, with what each tests.
TESTS_OF_SCRIPTS = {
    ("tests.e2e.test_reading", "benchmarks.row_accuracy"),
    ("tests.e2e.test_ui", "docs.screenshots"),
    ("tests.integration.test_judge", "benchmarks.judge"),
    ("tests.integration.test_judge", "benchmarks.judgement"),
    ("tests.integration.test_judge", "benchmarks.labelled_pictures"),
    ("tests.test_judge", "benchmarks.judge"),
    ("tests.test_judge", "benchmarks.judgement"),
    ("tests.test_judge", "benchmarks.labelled_pictures"),
    ("tests.test_soak", "benchmarks.soak"),
    ("tests.test_soak", "benchmarks.traffic"),
}


def packages_of(names: frozenset[str]) -> set[str]:
    """The stages and packages of `pipeline` among these modules."""
    return {name.split(".")[1] for name in names if name.startswith("pipeline.")}


def test_every_module_of_the_pipeline_is_a_stage_or_in_a_package_with_a_rule() -> None:
    assert packages_of(frozenset(modules())) == {*STAGES, *MAY_IMPORT}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_packages_below_it(package: str) -> None:
    for module in within(f"pipeline.{package}"):
        assert packages_of(imported_modules(module)) <= {package, *MAY_IMPORT[package]}, module


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_stage(stage: str) -> None:
    assert packages_of(imported_modules(f"pipeline.{stage}")) <= set(MAY_IMPORT) - {"experiments", "promotion"}


def test_the_pipeline_never_imports_the_service() -> None:
    for module in within("pipeline"):
        assert not any(name.startswith("serving") for name in imported_modules(module)), module


def test_the_service_imports_from_the_pipeline_only_the_image_preprocessing_its_limits_drift_and_the_errors() -> None:
    taken = {name for module in within("serving") for name in closure(module) if name.startswith("pipeline")}

    assert taken == SERVING_MAY_IMPORT


def test_the_row_reader_imports_nothing_of_http() -> None:
    for module in within("serving.rows"):
        assert not any(name.startswith("serving.http") for name in closure(module)), module


def test_the_product_imports_no_tests_benchmarks_or_docs() -> None:
    for module in within("pipeline", "serving"):
        assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in imported_modules(module)), module


def test_benchmarks_and_docs_import_of_tests_only_what_tests_share() -> None:
    for package, other in (("benchmarks", "docs"), ("docs", "benchmarks")):
        for module in within(package):
            found = {name for name in imported_modules(module) if name.startswith(("tests", other))}
            assert all(name.startswith("tests.support") for name in found), module


def test_what_tests_share_imports_none_of_its_users() -> None:
    for module in within("tests.support"):
        found = {name for name in imported_modules(module) if name.startswith(("tests", "benchmarks", "docs"))}
        assert all(name.startswith("tests.support") for name in found), module


def test_no_module_imports_a_test_module() -> None:
    for module in modules():
        found = {name.rpartition(".")[2] for name in imported_modules(module) if name.startswith("tests")}
        assert not any(name.startswith("test_") or name == "conftest" for name in found), module


def test_tests_import_benchmarks_and_docs_only_to_test_them() -> None:
    found = {
        (module, name)
        for module in within("tests")
        for name in imported_modules(module)
        if name.startswith(("benchmarks", "docs"))
    }

    assert found <= TESTS_OF_SCRIPTS


@pytest.mark.parametrize("package", ["pipeline", *(f"pipeline.{name}" for name in MAY_IMPORT)])
def test_a_package_itself_holds_nothing_that_a_result_could_depend_on(package: str) -> None:
    """DVC would not see a change there: a stage depends on modules. `fit` is for callers, not for stages."""
    assert imported_modules(package) == ({"pipeline.training.fitting"} if package == "pipeline.training" else set())
    if package not in ("pipeline", "pipeline.training"):
        (docstring,) = ast.parse(modules()[package].read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)


def test_two_modules_import_mlflow() -> None:
    importing = {module for module in within("pipeline", "serving") if "mlflow" in outside(module)}

    assert importing == {"pipeline.tracking.mlflow_store", "pipeline.tracking.registry"}


def test_no_stage_imports_fit() -> None:
    """It would load matplotlib, and its result would depend on what only a notebook shows."""
    for stage in STAGES:
        assert "pipeline.training.fitting" not in closure(f"pipeline.{stage}")


@pytest.mark.parametrize("module", ["pipeline.download", "pipeline.eda", "pipeline.normalise"])
def test_stages_before_training_import_no_torch(module: str) -> None:
    assert not any("torch" in outside(name) for name in closure(module))


def test_the_image_preprocessing_needs_only_numpy_and_pillow() -> None:
    needed = {name for module in closure("pipeline.data.image") for name in outside(module)}

    assert needed & {"torch", "mlflow", "dvc", "matplotlib", "pandas", "torchvision"} == set()


def test_the_types_that_the_supervisor_of_the_service_loads_need_neither_numpy_nor_pillow() -> None:
    """It would load them before the worker does, and the first answer came 6 % later."""
    needed = {name for module in closure("serving.http.schemas") for name in outside(module)}

    assert needed & {"numpy", "PIL"} == set()
