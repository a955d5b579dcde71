"""The imports between the modules of the repository, read from the source."""

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
    """Dotted names of everything that `module` imports, at any place in its file: modules and names in them."""
    names = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def imported_modules(module: str) -> frozenset[str]:
    """The repository's modules that `module` imports; a package only if no module in it is imported."""
    names = imported(module) & modules().keys()
    return frozenset(name for name in names if not any(other.startswith(f"{name}.") for other in names))


def closure(module: str) -> frozenset[str]:
    """`module` and all of the repository's modules that it imports, directly or indirectly."""
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += imported_modules(name)
    return frozenset(found)


def within(*packages: str) -> Iterator[str]:
    """The modules of these packages."""
    for name in modules():
        if any(name == package or name.startswith(f"{package}.") for package in packages):
            yield name


def outside(module: str) -> frozenset[str]:
    """Top-level names of the other packages that `module` imports."""
    return frozenset(name.split(".")[0] for name in imported(module)) - {*PACKAGES}
