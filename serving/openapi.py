"""The description of the API at `/docs.json`, which the Swagger page at `/docs` shows."""

from typing import Any, Final

from pipeline.image import LIMITS, SIDE
from serving.body import MAX_BATCH, MAX_BODY, PICTURES
from serving.problems import STATUS

Json = dict[str, Any]

PICTURE_PROBLEMS: Final = (
    "bad_query", "malformed_multipart", "missing_part", "no_content", "slow_body", "body_too_large",
    "unsupported_media_type", "not_a_picture", "damaged_picture", "animated_picture", "picture_size", "overloaded",
)  # fmt: skip
BATCH_PROBLEMS: Final = (
    "bad_query", "malformed_json", "slow_body", "body_too_large", "unsupported_media_type", "wrong_shape",
    "wrong_value", "overloaded",
)  # fmt: skip
SEEN: Final = {
    "name": "seen",
    "in": "query",
    "description": f"also answer with the {SIDE}×{SIDE} picture that the model saw",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
SHAPE: Final = {
    "name": "shape",
    "in": "query",
    "description": f"of raw bytes: N,{SIDE},{SIDE}. Bytes alone do not tell two images from a tall one.",
    "schema": {"type": "string", "pattern": f"^[1-9][0-9]{{0,3}},{SIDE},{SIDE}$"},
    "example": f"1,{SIDE},{SIDE}",
}


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def picture_body() -> Json:
    description = f"one still picture, {', '.join(PICTURES)}; {LIMITS}; at most {MAX_BODY} bytes"
    part = {
        "type": "object",
        "properties": {"picture": {"type": "string", "format": "binary"}},
        "required": ["picture"],
    }
    raw = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in PICTURES}
    content = {"multipart/form-data": {"schema": part}} | raw
    return {"required": True, "description": description, "content": content}


def batch_body() -> Json:
    blank = [[0] * SIDE] * SIDE
    return {
        "required": True,
        "description": f"1 to {MAX_BATCH} images, 0 = paper, 255 = ink; as raw bytes with `shape` in the query",
        "content": {
            "application/json": {"schema": reference("Batch"), "example": {"images": [blank]}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }


def responses(answer: str, example: Json, problems: tuple[str, ...]) -> Json:
    """The answer and, by status, the problems of an operation, each with an example."""
    described: Json = {
        "200": {
            "description": "the answer",
            "content": {"application/json": {"schema": reference(answer), "example": example}},
        }
    }
    for code in problems:
        status = str(STATUS[code])
        entry = described.setdefault(
            status,
            {
                "description": "",
                "content": {"application/json": {"schema": reference("Problem"), "examples": {}}},
            },
        )
        entry["description"] = f"{entry['description']}, {code}".removeprefix(", ")
        entry["content"]["application/json"]["examples"][code] = {
            "value": {"code": code, "message": "got …, expected …"}
        }
        if code == "overloaded":
            entry["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return described


def operation(name: str, summary: str, **parts: Any) -> Json:
    return {"operationId": name, "summary": summary, "tags": ["digits"], **parts}


def schemas(classes: int) -> Json:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = {"type": "array", "items": probability, "minItems": classes, "maxItems": classes}
    digit = {"type": "integer", "minimum": 0, "maximum": classes - 1}
    pixel = {"type": "integer", "minimum": 0, "maximum": 255}
    row = {"type": "array", "items": pixel, "minItems": SIDE, "maxItems": SIDE}
    image = {"type": "array", "items": row, "minItems": SIDE, "maxItems": SIDE}
    seen = {"type": "string", "description": "PNG as a data URL"}
    model = {"type": "string", "description": "tag of the model that answered"}
    judged: dict[str, Json] = {
        "digit": digit,
        "class": {"type": "string"},
        "confidence": probability,
        "probabilities": probabilities,
    }
    sides = ("left", "top", "width", "height")
    box = {"type": "object", "properties": dict.fromkeys(sides, probability), "required": list(sides)}

    def nullable(schema: Json) -> Json:
        return schema | {"type": [schema["type"], "null"]}

    def record(required: Json, **optional: Json) -> Json:
        return {
            "type": "object",
            "properties": required | optional,
            "required": list(required),
            "additionalProperties": False,
        }

    text = {"type": "string"}
    return {
        "Prediction": record(
            {"model": model, "is_blank": {"type": "boolean"}} | {k: nullable(v) for k, v in judged.items()}, seen=seen
        ),
        "Reading": record(
            {
                "model": model,
                "is_blank": {"type": "boolean"},
                "text": text,
                "digits": {"type": "array", "items": record(judged | {"box": box}, seen=seen)},
            }
        ),
        "Batch": record({"images": {"type": "array", "items": image, "minItems": 1, "maxItems": MAX_BATCH}}),
        "Predictions": record(
            {
                "model": model,
                "is_blank": {"type": "array", "items": {"type": "boolean"}},
                "digits": {"type": "array", "items": nullable(digit)},
                "probabilities": {"type": "array", "items": nullable(probabilities)},
            }
        ),
        "Model": record(
            {
                "model": model,
                "dataset": text,
                "classes": {"type": "array", "items": text},
                "labels": {"type": "object", "additionalProperties": text},
            }
        ),
        "Problem": record(
            {"code": {"type": "string", "enum": sorted(STATUS)}, "message": text}, got=text, expected=text
        ),
    }


def describe(tag: str, dataset: str, classes: tuple[str, ...]) -> Json:
    """The OpenAPI 3.1 description of the service with this model."""
    probabilities = [round(0.991 if label == 7 else 0.001, 3) for label in range(len(classes))]
    judged: Json = {"digit": 7, "class": classes[7], "confidence": 0.991, "probabilities": probabilities}
    box = {"left": 0.1, "top": 0.2, "width": 0.15, "height": 0.6}
    predict = operation(
        "predict",
        "a picture of one digit; a page with nothing on it has is_blank and no digit",
        parameters=[SEEN],
        requestBody=picture_body(),
        responses=responses("Prediction", {"model": tag, "is_blank": False, **judged}, PICTURE_PROBLEMS),
    )
    read = operation(
        "read",
        "a picture of several digits in a row: the number, and each digit with its box in shares of the sides",
        parameters=[SEEN],
        requestBody=picture_body(),
        responses=responses(
            "Reading",
            {"model": tag, "is_blank": False, "text": "7", "digits": [judged | {"box": box}]},
            (*PICTURE_PROBLEMS, "more_than_one_line", "too_many_digits", "not_digits"),
        ),
    )
    batch = operation(
        "predict_batch",
        f"many images of {SIDE}×{SIDE} pixels at once",
        parameters=[SHAPE],
        requestBody=batch_body(),
        responses=responses(
            "Predictions",
            {"model": tag, "is_blank": [False], "digits": [7], "probabilities": [probabilities]},
            BATCH_PROBLEMS,
        ),
    )
    about = operation(
        "model", "the model that answers", responses=responses("Model", about_example(tag, dataset, classes), ())
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Handwritten digits", "version": tag, "description": "A picture in, the digit out."},
        "paths": {
            "/predict": {"post": predict},
            "/read": {"post": read},
            "/predict_batch": {"post": batch},
            "/model": {"get": about},
        },
        "components": {"schemas": schemas(len(classes))},
    }


def about_example(tag: str, dataset: str, classes: tuple[str, ...]) -> Json:
    return {"model": tag, "dataset": dataset, "classes": list(classes), "labels": {"commit": "…", "data": "…"}}
