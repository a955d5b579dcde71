"""A baseline: plain FastAPI, torch eager, JSON. `uvicorn benchmarks.fastapi_baseline:app`."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Len
from fastapi import FastAPI
from pydantic import BaseModel

from pipeline.model import classifier
from pipeline.score import TRAINED

app = FastAPI()
network = classifier.load(TRAINED)
torch.set_num_threads(1)


class Batch(BaseModel):
    images: Annotated[list[Annotated[list[Annotated[list[int], Len(28, 28)]], Len(28, 28)]], Len(1)]


@app.post("/predict")
def predict(batch: Batch) -> dict[str, list[list[float]]]:
    with torch.inference_mode():
        probabilities, _ = network(torch.from_numpy(np.array(batch.images, np.uint8)))
        return {"probabilities": probabilities.tolist()}
