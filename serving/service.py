"""The BentoML service: what is deployed, and with which model.

BentoML's supervisor imports this module, too; what only a worker needs is imported in functions.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import bentoml
import orjson
from bentoml.models import BentoModel
from bentoml.validators import TensorSchema
from pydantic import BaseModel
from starlette.types import ASGIApp

from serving import integrity, workers
from serving.corrections.settings import corrections_folder
from serving.http.schemas import Prediction, Predictions, Reading
from serving.monitoring.prediction_log import PredictionLog

# As BentoML reads `np.ndarray`; importing numpy would start the service 50 ms later.
Array = Annotated[Any, TensorSchema("numpy-array")]


class Arguments(BaseModel):
    """Passed when the Bento is built, and stored in it."""

    model: str
    """Tag of the model in BentoML's store, with its version: `mnist:v3-1d8e47a3`."""
    labels: dict[str, str]
    """The labels that the stored model must have, `sha256` that of its file."""


arguments = bentoml.use_arguments(Arguments)
uv = Path(__file__).with_name("uv.lock").read_text(encoding="utf-8").replace("\\\n", "").strip()
image = bentoml.images.Image(  # in an unknown distribution BentoML installs no compiler and no git
    base_image="docker.io/library/python:3.11-slim",
    distro="slim",
    lock_python_packages=False,
    python_requirements=Path(__file__).with_name("requirements.lock").read_text(encoding="utf-8"),
    commands=[f"echo '{uv}' >/uv.lock && pip install --quiet --require-hashes --requirement /uv.lock && rm /uv.lock"],
    post_commands=[
        "pip uninstall --yes --quiet uv; rm -rf /root/.cache",
        "install --directory --owner=1034 --group=1034 --mode=700 /corrections",  # a volume there gets its owner
    ],
)


def check_model(arguments: Arguments) -> None:
    """Exit with a sentence if the stored model is damaged, or is another one.

    On import: the supervisor exits before it opens the port, and before BentoML reads a damaged manifest into a
    traceback. A worker that was started again, later, exits as well: nothing is answered and the probes fail.
    """
    try:
        integrity.check(arguments.model, arguments.labels)
    except integrity.DamagedModelError as error:
        sys.exit(f"error: {error}")


def check_corrections() -> None:
    """Exit with a sentence if corrections cannot be stored where the environment says. On import, as above."""
    try:
        corrections_folder()
    except OSError as error:
        sys.exit(f"error: {error}")


def check_log() -> None:
    """Exit with a sentence if the prediction log is configured and cannot be written."""
    try:
        PredictionLog.configured(os.environ)
    except (OSError, ValueError) as error:
        sys.exit(f"error: prediction log: {error}")


def http_api(app: ASGIApp) -> ASGIApp:
    """The middlewares in front of BentoML's application `app`. Called when a worker starts."""
    workers.use_shared_metrics()
    from serving.corrections.store import CorrectionStore
    from serving.http import uvicorn_protocol
    from serving.http.app import HttpApi
    from serving.http.cors import cors_settings, with_cors
    from serving.http.limits_middleware import LimitsMiddleware
    from serving.http.watchdog import Watchdog

    watchdog = Watchdog()
    watchdog.watch(asyncio.get_running_loop())
    folder = corrections_folder()
    corrections = CorrectionStore(folder) if folder else None
    api = HttpApi(app, lambda: bentoml.get_current_service().model, watchdog, corrections=corrections)
    limits = LimitsMiddleware(api, monitor=lambda: bentoml.get_current_service().monitor)
    limited = with_cors(limits, cors_settings())
    uvicorn_protocol.install(limited)
    return limited


def as_json(answer: dict[str, Any]) -> Any:
    """The answer as a client receives it over HTTP."""
    return orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


check_model(arguments)
check_corrections()
check_log()


@bentoml.service(
    name="handwritten-digits",
    workers=workers.worker_count(),
    traffic={"timeout": 30},  # seconds; the limits and the watchdog allow less
    metrics={"enabled": False},  # ours, at the same path, without a span for each request
    tracing={"excluded_urls": ".*"},  # a span for each request takes longer than the network
    logging={"access": {"enabled": False}},
    envs=[
        {"name": "ORT_DISABLE_TELEMETRY", "value": "1"},
        {"name": "BENTOML_DO_NOT_TRACK", "value": "true"},
        {"name": "MALLOC_ARENA_MAX", "value": "1"},  # an arena for each thread keeps the memory of its largest picture
    ],
    image=image,
)
class Digits:
    """A picture in, its class and the probabilities of all classes out: digits, or what else the model is of."""

    stored = BentoModel(arguments.model)

    @bentoml.on_deployment
    @staticmethod
    def restart_workers_in_containers() -> None:
        """In a container, BentoML would not restart a dead worker, but keep its port open."""
        os.environ.pop("BENTOML_CONTAINERIZED", None)

    @bentoml.on_deployment
    @staticmethod
    def share_metrics() -> None:
        workers.share_metrics(Digits.config["workers"])  # type: ignore[attr-defined]  # the decorator makes it a Service

    def __init__(self) -> None:
        from serving.http import metrics
        from serving.model import Model
        from serving.monitoring import shadow
        from serving.monitoring.monitor import started_monitor

        path = Path(self.stored.path_of(integrity.FILE))
        self.model = Model(path, arguments.model, arguments.labels)
        log, second = PredictionLog.configured(os.environ), shadow.configured(self.model, os.environ)
        self.monitor = started_monitor(self.model, log, second)
        metrics.MODEL.labels(self.model.tag).set(1)
        gc.freeze()  # imported objects stay: scanning them for garbage took 50 ms from time to time
        gc.collect()  # the next one comes when there is a quarter more than this one leaves: soon, and it is short

    def __is_ready__(self) -> bool:
        return self.model.reproduces_golden()

    @bentoml.api
    def predict(self, picture: Path, seen: bool = False) -> Prediction:
        """The class of what a picture file shows; with `seen` also the image that the model saw."""
        from serving.http import handlers

        answer: Prediction = as_json(handlers.predict(self.model, picture.read_bytes(), seen))
        return answer

    @bentoml.api
    def read(self, picture: Path, seen: bool = False) -> Reading:
        """The digits in a row, from left to right, each with its box. Only for a model of digits."""
        from serving.http import handlers

        answer: Reading = as_json(handlers.read(self.model, picture.read_bytes(), seen))
        return answer

    @bentoml.api
    def predict_batch(self, images: Array) -> Predictions:
        """The classes of many images, `(N, 28, 28)` of whole numbers from 0 = paper to 255 = ink; of a model that sees
        colours `(N, 28, 28, 3)`."""
        from serving.http import handlers
        from serving.http.parsing import listed_images

        answer: Predictions = as_json(
            handlers.predict_batch(self.model, listed_images(images.tolist(), self.model.channels))
        )
        return answer


Digits.add_asgi_middleware(http_api)  # type: ignore[attr-defined]  # the decorator makes it a Service
