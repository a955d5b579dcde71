"""Which module of the repository imports which, read from the source."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.project_clone import ROOT

PACKAGES = ("pipeline", "serving", "tests", "benchmarks", "docs")


@cache
def modules() -> dict[str, Path]:
    """The files of all modules and packages by their dotted names."""
    found = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {_name(path.relative_to(ROOT)): path for path in found}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(module: str) -> frozenset[str]:
    """Dotted names of all that the file of `module` imports, wherever in it: modules, and what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def imported_modules(module: str) -> frozenset[str]:
    """Those of the repository's modules that `module` imports; a package only where nothing in it is named."""
    ours = imported(module) & modules().keys()
    return frozenset(name for name in ours if not any(other.startswith(f"{name}.") for other in ours))


def closure(module: str) -> frozenset[str]:
    """The repository's modules that run when `module` does, itself among them."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imported_modules(name)
    return frozenset(found)


def within(*packages: str) -> Iterator[str]:
    """The modules of these packages."""
    for name in modules():
        if any(name == package or name.startswith(f"{package}.") for package in packages):
            yield name


def outside(module: str) -> frozenset[str]:
    """Top-level names of what `module` imports from elsewhere."""
    return frozenset(name.split(".")[0] for name in imported(module)) - {*PACKAGES}
