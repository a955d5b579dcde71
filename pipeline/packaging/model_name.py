"""The name under which the model of params.yaml is registered."""

from pydantic import ConfigDict

from pipeline.core import config


class Download(config.Section):
    """What packaging and promotion need of the section; the rest is for the stage."""

    model_config = ConfigDict(extra="ignore")
    dataset: str


def model_name() -> str:
    """The name of params.yaml's data set, and so of the model trained on it. Raises ParamsError."""
    return config.load("download", Download).dataset
