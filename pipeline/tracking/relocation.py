"""A SQLite store that was moved or copied together with its artifacts.

MLflow writes the absolute path of an artifact folder into each row and has no API to change it. Without this module a
store that was moved would still use the folder in which it was created.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
PROXIED: Final = "mlflow-artifacts:"  # written by `mlflow server --artifacts-destination` instead of a path


def relocate(database: Path, folder: Path, experiment: str) -> None:
    """Replace the artifact folder of `experiment` with `folder` in all rows.

    Changes nothing if they agree already, or if the artifacts of the experiment are in a location that the user chose.
    Raises sqlite3.Error.
    """
    if not database.is_file():
        return
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        (location,) = connection.execute(query, (experiment,)).fetchone() or ("",)
        old, new = _prefix(location, folder.name), folder.as_uri()
        if old in (None, new):
            return
        for table, column in COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                {"old": old, "new": new},
            )


def _prefix(location: str, name: str) -> str | None:
    """The part of an artifact location that stands for the folder `name`: a path, or PROXIED; None if there is none."""
    if location.startswith(f"{PROXIED}/"):
        return PROXIED
    before, found, after = location.rpartition(f"/{name}")
    return before + found if found and after[:1] in ("", "/") else None
