"""A baseline: what a performance-minded user would write with FastAPI, onnxruntime and orjson, for pixels in bytes or
in JSON. Nothing is limited, counted or validated. `uvicorn benchmarks.fastapi_onnx_baseline:app`."""

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("artifacts/export/model.onnx", options, providers=["CPUExecutionProvider"])


@app.post("/predict_batch")
async def predict_batch(request: Request) -> Response:
    body = await request.body()
    if request.headers["content-type"] == "application/json":
        images = np.array(orjson.loads(body)["images"], np.uint8)
    else:
        images = np.frombuffer(body, np.uint8).reshape(-1, 28, 28)
    probabilities, scores = session.run(None, {"images": images})
    answer = {"digits": probabilities.argmax(axis=1), "digit_scores": scores, "probabilities": probabilities}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
