"""What a person sees first in MLflow: the experiment as one of training, and a table of runs with chosen columns."""

import json
from collections.abc import Iterable
from typing import Final

KEY: Final = "overview"  # of the shared view, in its address
TAGS: Final = ("device",)
ATTRIBUTES: Final = ("User", "Version", "Dataset", "Duration", "Models")  # Version is the commit


def experiment_tags(metrics: Iterable[str]) -> dict[str, str]:
    """Tags of the experiment: its kind, without which MLflow guesses one, and the columns of its shared view."""
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"tags.`{name}`" for name in TAGS),
        *(f"attributes.`{name}`" for name in ATTRIBUTES),
    ]
    view = {
        "selectedColumns": columns,
        "columnOrder": columns,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{KEY}": json.dumps(view),
    }


def address(server: str, experiment_id: str) -> str:
    """The page with the table of runs in that view."""
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"
