"""Restore files that a test changes, so that tests can share a folder and run in any order."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def contents(path: Path) -> dict[Path, bytes]:
    """The bytes of a file, or of all files in a folder, by path; empty if there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {file: file.read_bytes() for file in files if file.is_file()}


@contextmanager
def preserved(*paths: Path) -> Iterator[None]:
    """Restore these files and folders when the block ends, however it ends. What was absent is removed."""
    before = {path: contents(path) for path in paths}
    try:
        yield
    finally:
        for path, files in before.items():
            now = contents(path)
            for file in now.keys() - files.keys():
                file.unlink()
            for file, content in files.items():
                if now.get(file) != content:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
