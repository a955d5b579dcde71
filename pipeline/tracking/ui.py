"""`make ui`: an MLflow server for the store beside the repository, `python -m pipeline.tracking.ui PORT`.

It first opens the store as the stages do, which creates its tables and corrects the paths of a moved store.
"""

import os
import sys
from pathlib import Path

from pipeline.core import entrypoint
from pipeline.core.errors import TrackingError
from pipeline.tracking import view
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors
from pipeline.tracking.tracking_uri import artifact_folder, display_uri, get_tracking_uri


def command(root: Path, port: str) -> list[str]:
    """The command line of the server. Raises TrackingError if MLflow's runs are on a server already."""
    folder = artifact_folder(root)
    if folder is None:
        raise TrackingError(f"MLFLOW_TRACKING_URI: MLflow's runs are at {display_uri(root)}: open that in a browser")
    serve = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    return [*serve, "--backend-store-uri", get_tracking_uri(root), "--artifacts-destination", str(folder)]


def main() -> None:
    (port,) = sys.argv[1:]
    root = Path()
    server = command(root, port)
    configure_mlflow()
    with mlflow_errors(root):
        store = MlflowStore(root)
        store.set_experiment_tags(view.experiment_tags([]), keep=True)  # before the first sync
    print(f"MLflow: {view.address(f'http://127.0.0.1:{port}', store.experiment_id)} (Ctrl-C stops it)", flush=True)
    os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    os.execv(server[0], server)


if __name__ == "__main__":
    entrypoint.run(main)
