"""The name under which the model of params.yaml is registered: that of its data set."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from pipeline.core import config


class Own(config.Section):
    model_config = ConfigDict(extra="ignore")
    name: str


class Download(config.Section):
    """What packaging and promotion need of the section; the rest is for the stage."""

    model_config = ConfigDict(extra="ignore")
    dataset: str
    own: Own


def model_name() -> str:
    """The name of params.yaml's data set, and so of the model trained on it. Raises ParamsError."""
    return dataset_name(config.load("download", Download).model_dump())


def dataset_name(download: Mapping[str, Any]) -> str:
    """The name of the data set in a section `download`; of own data, the one that they are given. As in dvc.yaml."""
    return str(download["own"]["name"] if download["dataset"] == "own" else download["dataset"])
