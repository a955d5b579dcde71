"""Where MLflow keeps its record, and how that address may be shown."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a SQLite file. One of a relative path lies in `root`, the main repository."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, separator, path = uri.partition("sqlite:///")
    return uri if scheme or not separator else f"sqlite:///{root.resolve() / path}"


def without_password(uri: str) -> str:
    """The URI as it may be shown: a database's or server's user and password left out."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri
