"""The description of the API at `/docs.json`, which the Swagger page at `/docs` shows."""

from types import MappingProxyType
from typing import Any, Final

from pipeline.data.limits import FORMATS, LIMITS, SIDE, image_shape
from serving.corrections.settings import DEFAULT_LIMITS as CORRECTION_LIMITS
from serving.corrections.settings import LABELS, NONE
from serving.http.errors import STATUS, Problem, unexpected
from serving.http.limits import BODY_SECONDS, DEFAULT_LIMITS, MAX_BATCH, MAX_BODY, MAX_JSON
from serving.http.nouns import noun, title
from serving.http.parsing import (
    JSON,
    MULTIPART,
    PICTURE_TYPES,
    PICTURES,
    PIXELS,
    RAW,
    expected_images,
)
from serving.http.schemas import Json, component_schemas
from serving.rows.limits import MAX_DIGITS

EVERYWHERE: Final = ("method_not_allowed", "internal_error")
CORRECTION_PROBLEMS: Final = ("not_digits", "wrong_value", "too_many_corrections", "corrections_full")
PICTURE_PROBLEMS: Final = (
    "bad_query", "malformed_multipart", "missing_part", "no_content", "slow_body", "body_too_large",
    "unsupported_media_type", "not_a_picture", "damaged_picture", "animated_picture", "picture_size", "overloaded",
)  # fmt: skip
BATCH_PROBLEMS: Final = (
    "bad_query", "malformed_json", "slow_body", "body_too_large", "unsupported_media_type", "wrong_shape",
    "wrong_value", "overloaded",
)  # fmt: skip
EXAMPLES: Final = MappingProxyType(  # got and expected, or the whole message
    {
        "animated_picture": ("an animated picture", "a still one"),
        "bad_query": ("seen=yes", "seen=true or seen=false"),
        "body_too_large": (f"a body of {2 * MAX_BODY} bytes", f"at most {MAX_BODY} bytes"),
        "corrections_full": ("no more corrections are stored until those that wait have been reviewed",),
        "damaged_picture": ("a damaged picture (image file is truncated)", "an intact one"),
        "internal_error": ("an error in the service; it has been logged",),
        "malformed_json": ("the body is not JSON: unexpected end of data: line 1 column 12 (char 11)",),
        "malformed_multipart": ("512 bytes", "parts, the last followed by --boundary--"),
        "method_not_allowed": ("method PUT", "POST"),
        "missing_part": ("form fields 'note' and no file", "one file part, e.g. named 'picture'"),
        "more_than_one_line": ("more than one line", "one line"),
        "no_content": ("0 bytes", "a picture file"),
        "not_a_picture": ("5 bytes that are not a picture", ", ".join(FORMATS)),
        "not_digits": ("the model fashion_mnist:v1-0123abcd classifies Trouser, Coat, not digits",),
        "not_ready": ("the model mnist:v1-0123abcd does not reproduce its golden answers",),
        "overloaded": (f"{DEFAULT_LIMITS.requests} requests are being answered; try again in a second",),
        "picture_size": ("a picture of 2×2 pixels", LIMITS),
        "slow_body": ("1000 bytes", f"the whole body within {BODY_SECONDS:g} seconds"),
        "too_many_digits": (f"{MAX_DIGITS + 1} separate shapes", f"at most {MAX_DIGITS} digits"),
        "too_many_corrections": (
            f"{CORRECTION_LIMITS.per_minute} corrections were stored in the last minute; try again in a minute",
        ),
        "unsupported_media_type": ("content type 'text/plain'", " or ".join((MULTIPART, *PICTURES, RAW))),
        "wrong_shape": (f"{PIXELS - 1} bytes", f"{PIXELS} bytes of uint8 for shape 1,{SIDE},{SIDE}"),
        "wrong_value": ("256", expected_images(1)),
    }
)
SEEN: Final = {
    "name": "seen",
    "in": "query",
    "description": f"also return the {SIDE}×{SIDE} image that the model saw",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}


def shape_parameter(channels: int) -> Json:
    sides = ",".join(map(str, image_shape(channels)))
    return {
        "name": "shape",
        "in": "query",
        "description": f"of raw bytes: N,{sides} with N from 1 to {MAX_BATCH}. Bytes alone do not distinguish two "
        "images from a tall one.",
        "schema": {"type": "string", "pattern": f"^[1-9][0-9]{{0,{len(str(MAX_BATCH)) - 1}}},{sides}$"},
        "example": f"1,{sides}",
    }


LABEL: Final = {
    "name": "label",
    "in": "query",
    "required": True,
    "description": f"what the picture shows; {NONE}: no digit",
    "schema": {"type": "string", "enum": list(LABELS)},
}
INDEX: Final = {
    "name": "digit",
    "in": "query",
    "description": "of a picture of a row: the index of the digit that is corrected, from 0, as `/read` returns them; "
    "left out, the picture is of one digit",
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_DIGITS - 1},
}


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def picture_body() -> Json:
    description = (
        f"one still picture, {', '.join(PICTURES)}; {LIMITS}; "
        f"at most {MAX_BODY} bytes within {BODY_SECONDS:g} seconds; "
        "other names of these types are accepted too: the format is detected from the bytes"
    )
    part = {
        "type": "object",
        "properties": {"picture": {"type": "string", "format": "binary"}},
        "required": ["picture"],
    }
    raw = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in PICTURE_TYPES}
    content = {MULTIPART: {"schema": part}} | raw
    return {"required": True, "description": description, "content": content}


def batch_body(channels: int) -> Json:
    blank = [[0 if channels == 1 else [0] * channels] * SIDE] * SIDE
    levels = "0 = paper, 255 = ink" if channels == 1 else "red, green and blue from 0 to 255"
    return {
        "required": True,
        "description": f"1 to {MAX_BATCH} images, {levels}: as JSON of at most {MAX_JSON} bytes, or as raw "
        f"bytes with `shape` in the query; within {BODY_SECONDS:g} seconds",
        "content": {
            JSON: {"schema": reference("Batch"), "example": {"images": [blank]}},
            RAW: {"schema": {"type": "string", "format": "binary"}},
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
    for code in (*problems, *EVERYWHERE):
        status = str(STATUS[code])
        entry = described.setdefault(
            status,
            {
                "description": "",
                "content": {"application/json": {"schema": reference("Problem"), "examples": {}}},
            },
        )
        entry["description"] = f"{entry['description']}, {code}".removeprefix(", ")
        entry["content"]["application/json"]["examples"][code] = {"value": problem_example(code)}
        if code in ("overloaded", "too_many_corrections"):
            entry["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return described


def problem_example(code: str) -> Json:
    parts = EXAMPLES[code]
    problem = unexpected(code, *parts) if len(parts) == 2 else Problem(code, *parts)
    return problem.content()


def operation(name: str, summary: str, **parts: Any) -> Json:
    return {"operationId": name, "summary": summary, **parts}


def correction(tag: str) -> Json:
    """The operation of `/corrections`."""
    example = {"correction": "20261130T210747.123456Z-3f9a1c2b", "label": "7", "model": tag}
    row = ("more_than_one_line", "too_many_digits")
    return operation(
        "correct",
        "stores what a picture shows, with the picture and the answer to it, for a review: the service read it wrongly",
        parameters=[LABEL, INDEX],
        requestBody=picture_body(),
        responses=responses("Correction", example, (*PICTURE_PROBLEMS, *row, *CORRECTION_PROBLEMS)),
    )


def describe(tag: str, dataset: str, classes: tuple[str, ...], channels: int = 1, *, corrections: bool = False) -> Json:
    """The OpenAPI 3.1 description of the service with this model, with or without `/corrections`."""
    probabilities = [round(0.991 if label == min(7, len(classes) - 1) else 0.001, 3) for label in range(len(classes))]
    digit = min(7, len(classes) - 1)
    top_class: Json = {
        "digit": digit,
        "class": classes[digit],
        "confidence": 0.99,
        "reason": None,
        "digit_score": 0.999,
        "probabilities": probabilities,
    }
    box = {"left": 0.1, "top": 0.2, "width": 0.15, "height": 0.6}
    predict = operation(
        "predict",
        f"a picture of one {noun(classes)}; what shows none of the classes gets the reason instead",
        parameters=[SEEN],
        requestBody=picture_body(),
        responses=responses("Prediction", {"model": tag, **top_class}, PICTURE_PROBLEMS),
    )
    read = operation(
        "read",
        f"a picture of up to {MAX_DIGITS} digits in a row: the number, and each digit with its box in shares of the "
        "sides of the picture as it stands upright; marks that are no digits are left out",
        parameters=[SEEN],
        requestBody=picture_body(),
        responses=responses(
            "Reading",
            {"model": tag, "reason": None, "text": "7", "digits": [top_class | {"box": box}], "rejected": []},
            (*PICTURE_PROBLEMS, "more_than_one_line", "too_many_digits", "not_digits"),
        ),
    )
    batch = operation(
        "predict_batch",
        f"many images of {SIDE}×{SIDE} pixels at once",
        parameters=[shape_parameter(channels)],
        requestBody=batch_body(channels),
        responses=responses(
            "Predictions",
            {
                "model": tag,
                "digits": [digit],
                "reasons": [None],
                "digit_scores": [0.999],
                "probabilities": [probabilities],
            },
            BATCH_PROBLEMS,
        ),
    )
    about = operation(
        "model", "the model in use", responses=responses("Model", about_example(tag, dataset, classes, channels), ())
    )
    alive = operation("livez", "the process responds", responses=responses("Status", {"status": "alive"}, ()))
    ready = operation(
        "readyz",
        "the model reproduces its golden answers, one for each class",
        responses=responses("Status", {"status": "ready"}, ("not_ready",)),
    )
    example = f'digits_predictions_total{{class_name="{classes[digit]}"}} 1.0'
    page = {"text/plain": {"schema": {"type": "string"}, "example": example}}
    measured = operation(
        "metrics",
        "requests, latencies, predictions, confidence, refusals and the model's tag, in Prometheus' text format",
        responses=responses("Status", {}, ()) | {"200": {"description": "the answer", "content": page}},
    )
    paths = {
        "/predict": {"post": predict},
        "/read": {"post": read},
        "/predict_batch": {"post": batch},
        "/model": {"get": about},
        "/livez": {"get": alive},
        "/readyz": {"get": ready},
        "/metrics": {"get": measured},
    }
    if corrections:
        paths["/corrections"] = {"post": correction(tag)}
    schemas = component_schemas(len(classes), channels)
    if noun(classes) != "digit":  # then `/read` refuses each picture
        del paths["/read"], schemas["Reading"], schemas["Digit"], schemas["Box"]
    for path in paths.values():
        for each in path.values():
            each["tags"] = [f"{noun(classes)}s"]
    return {
        "openapi": "3.1.0",
        "info": {"title": title(classes), "version": tag, "description": f"A picture in, the {noun(classes)} out."},
        "servers": [{"url": ".", "description": "this service, also behind a prefix"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def about_example(tag: str, dataset: str, classes: tuple[str, ...], channels: int) -> Json:
    origin = {"sha256": "…", "run": "…", "commit": "…", "dirty": "false", "experiment": "none", "registry": "…"}
    labels = origin | {"training_data": "….dir", "handwriting": "….dir", "test_accuracy": "0.9934"}
    return {
        "model": tag,
        "dataset": dataset,
        "classes": list(classes),
        "preprocessing": "ink" if channels == 1 else "none",
        "channels": channels,
        "threshold": 0.5,
        "labels": labels,
    }
