"""The BentoML service: what is deployed, and with which model."""

import asyncio
import gc
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
from bentoml.models import BentoModel
from pydantic import BaseModel

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from serving.http.app import Api


class Arguments(BaseModel):
    """Given once, when the Bento is built; the Bento carries them."""

    model: str
    """Tag of the model in BentoML's store, with its version: `mnist:v3-1d8e47a3`."""


# In a container BentoML would leave a dead worker dead and go on holding the port, and nobody would notice.
os.environ.pop("BENTOML_CONTAINERIZED", None)
# There is one worker: its metrics need not go through files that many workers would share.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

arguments = bentoml.use_arguments(Arguments)
image = bentoml.images.Image(  # a distribution that BentoML does not know gets no compiler and no git
    base_image="docker.io/library/python:3.11-slim",
    distro="slim",
    lock_python_packages=False,
    python_requirements=Path(__file__).with_name("requirements.lock").read_text(encoding="utf-8"),
    post_commands=["pip uninstall --yes --quiet uv; rm -rf /root/.cache"],
)


def set_manners() -> None:
    from serving.http import uvicorn_protocol  # only now: it sets up the metrics

    uvicorn_protocol.install()


set_manners()


@cache
def api() -> "Api":
    """What answers. Only the worker imports it: the supervisor, which loads this file first, has no use for it."""
    from serving.http.app import Api

    return Api()


def door(bentoml: "ASGIApp") -> "ASGIApp":
    from serving.http.cors import cors_settings, with_cors
    from serving.http.limits import Door

    return with_cors(Door(bentoml, api=api()), cors_settings())


@bentoml.service(
    name="handwritten-digits",
    workers=1,
    traffic={"timeout": 30},  # seconds; what the door and the watchdog allow is shorter
    metrics={"enabled": False},  # ours, at the same path, without a span for each request
    tracing={"excluded_urls": ".*"},  # a span for each request takes longer than the network
    logging={"access": {"enabled": False}},
    envs=[
        {"name": "ORT_DISABLE_TELEMETRY", "value": "1"},
        {"name": "BENTOML_DO_NOT_TRACK", "value": "true"},
    ],
    image=image,
)
class Digits:
    """Handwritten digits: a picture in, the digit and its probabilities out."""

    stored = BentoModel(arguments.model)

    def __init__(self) -> None:
        from serving.http import metrics
        from serving.model import Model

        api().watchdog.watch(asyncio.get_running_loop())
        stored = self.stored
        api().model = model = Model(Path(stored.path_of("model.onnx")), str(stored.tag), stored.info.labels)
        metrics.MODEL.labels(model.tag).set(1)
        gc.freeze()  # what was imported is there to stay: to look through it for garbage took 50 ms, now and then


Digits.add_asgi_middleware(door)  # type: ignore[attr-defined]  # the decorator makes it a Service
