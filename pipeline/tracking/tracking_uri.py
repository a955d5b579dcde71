"""The tracking URI: where MLflow keeps runs and artifacts, and how that address is shown."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.core.errors import TrackingError

DEFAULT: Final = "sqlite:///mlflow.db"
SQLITE: Final = "sqlite:///"
EXPECTED: Final = "a URI such as http://server:5000 or sqlite:///mlflow.db"


def get_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or a SQLite file by default. A relative path is resolved in `root`, the main repository.

    Where the path contains `?` or `%`, which are special in a URI, it is relative to the working directory.
    Raises TrackingError for a URI without a scheme.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
    if "://" not in uri and uri != "databricks":
        host = re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri)
        expected = f"http://{uri} or https://{uri}" if host else EXPECTED
        raise TrackingError(f"MLFLOW_TRACKING_URI: got {uri!r}, expected {expected}")
    path = uri.removeprefix(SQLITE) if uri.startswith(SQLITE) else "/"
    if path.startswith("/"):
        return uri
    absolute = str(root.resolve() / path)
    return SQLITE + (os.path.relpath(absolute) if re.search("[?%]", absolute) else absolute)


def database_file(root: Path) -> Path | None:
    """The SQLite file of the store; None if the store is a server or another database."""
    uri = get_tracking_uri(root)
    path, _, _ = uri.removeprefix(SQLITE).partition("?")
    return Path(unquote(path)).resolve() if uri.startswith(SQLITE) else None


def artifact_folder(root: Path) -> Path | None:
    """The folder of the artifacts, beside the SQLite file. None unless the store is SQLite: a server has its own."""
    database = database_file(root)
    return database.parent / "mlartifacts" if database else None


def display_uri(root: Path) -> str:
    """The tracking URI for messages: without credentials, a SQLite file with its absolute path."""
    database = database_file(root)
    return f"{SQLITE}{database}" if database else without_credentials(get_tracking_uri(root))


def public_uri(root: Path) -> str:
    """The tracking URI that a service may publish: without credentials, of a SQLite file only the name."""
    database = database_file(root)
    return f"{SQLITE}{database.name}" if database else without_credentials(get_tracking_uri(root))


def without_credentials(uri: str) -> str:
    """The URI without the user and the password of a database or server, and without its query, which may hold them."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    if host == parts.netloc and not parts.query and not parts.fragment:
        return uri
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))
