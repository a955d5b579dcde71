"""Where MLflow keeps runs and artifacts, and how that address may be shown."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.core.errors import TrackingError

DEFAULT: Final = "sqlite:///mlflow.db"
SQLITE: Final = "sqlite:///"
EXPECTED: Final = "an address such as http://server:5000 or sqlite:///mlflow.db"


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a SQLite file. One of a relative path lies in `root`, the main repository.

    Where the path to it holds `?` or `%`, which mean something in a URL, it is named from the working directory.
    Raises TrackingError for an address without a scheme.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
    if "://" not in uri and uri != "databricks":
        host = re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri)
        expected = f"http://{uri} or https://{uri}" if host else EXPECTED
        raise TrackingError(f"MLFLOW_TRACKING_URI: got {uri!r}, expected {expected}")
    path = uri.removeprefix(SQLITE) if uri.startswith(SQLITE) else "/"
    if path.startswith("/"):
        return uri
    whole = str(root.resolve() / path)
    return SQLITE + (os.path.relpath(whole) if re.search("[?%]", whole) else whole)


def database_file(root: Path) -> Path | None:
    """The SQLite file of the store; None where the store is a server or another database."""
    uri = store_uri(root)
    path, _, _ = uri.removeprefix(SQLITE).partition("?")
    return Path(unquote(path)).resolve() if uri.startswith(SQLITE) else None


def artifact_folder(root: Path) -> Path | None:
    """The folder of the artifacts: beside the SQLite file. None where the store is not one: its server decides."""
    database = database_file(root)
    return database.parent / "mlartifacts" if database else None


def shown_uri(root: Path) -> str:
    """The store's address as it may be shown: without user and password, a SQLite file with its whole path."""
    database = database_file(root)
    return f"{SQLITE}{database}" if database else without_password(store_uri(root))


def without_password(uri: str) -> str:
    """The URI as it may be shown: a database's or server's user and password left out."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri
