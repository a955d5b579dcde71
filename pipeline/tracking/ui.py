"""`make ui`: MLflow's server over the store beside the repository, `python -m pipeline.tracking.ui PORT`.

It first opens the store as the stages do: with its tables made, and its artifacts found where they are now.
"""

import os
import sys
from pathlib import Path

from pipeline.core import entrypoint
from pipeline.core.errors import TrackingError
from pipeline.tracking.mlflow_store import Record, set_manners, talking_to
from pipeline.tracking.store_uri import artifact_folder, shown_uri, store_uri


def command(root: Path, port: str) -> list[str]:
    """The server's command line. Raises TrackingError where MLflow keeps its runs on a server already."""
    folder = artifact_folder(root)
    if folder is None:
        raise TrackingError(f"MLFLOW_TRACKING_URI: MLflow's runs are at {shown_uri(root)}: open that in a browser")
    serve = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    return [*serve, "--backend-store-uri", store_uri(root), "--artifacts-destination", str(folder)]


def main() -> None:
    (port,) = sys.argv[1:]
    root = Path()
    server = command(root, port)
    set_manners()
    with talking_to(root):
        Record(root)
    print(f"MLflow: http://127.0.0.1:{port}, there 'Model training', 'handwritten-digits' (Ctrl-C ends it)", flush=True)
    os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    os.execv(server[0], server)


if __name__ == "__main__":
    entrypoint.run(main)
