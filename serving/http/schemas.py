"""The JSON Schema of each body that goes in or out, as OpenAPI 3.1 has it."""

from typing import Any

from pipeline.data.image import SIDE
from serving.http.errors import STATUS
from serving.http.parsing import MAX_BATCH
from serving.rows.reader import MAX_DIGITS

Json = dict[str, Any]


def schemas(classes: int) -> Json:
    """By their names."""
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
                "digits": {"type": "array", "items": record(judged | {"box": box}, seen=seen), "maxItems": MAX_DIGITS},
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
        "Status": record({"status": {"type": "string", "enum": ["alive", "ready"]}}),
        "Problem": record(
            {"code": {"type": "string", "enum": sorted(STATUS)}, "message": text}, got=text, expected=text
        ),
    }
