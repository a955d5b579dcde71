"""The types of request and response bodies. The typed APIs of the BentoML service and the OpenAPI description share
them, and `handlers` and `app` build the answers. The description limits `probabilities` and `digit` by the model's
number of classes."""

from typing import Annotated, Any, Final, Literal, NotRequired

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypeAliasType, TypedDict

from pipeline.data.limits import COLOURS, SIDE, Channels, Preprocessing, Reason
from serving.http.errors import STATUS
from serving.http.limits import MAX_BATCH
from serving.rows.limits import MAX_DIGITS

Json = dict[str, Any]
closed = with_config(ConfigDict(extra="forbid"))  # a type with no other keys

Share = Annotated[float, Ge(0), Le(1)]
Tag = Annotated[str, Field(description="tag of the model that answered")]
Seen = Annotated[str, Field(description=f"the {SIDE}×{SIDE} image that the model saw: PNG as a data URL")]
LABELS: Final = (
    "the origin of the model: `sha256` of its file; `run` in MLflow at the address `registry`; git `commit`, `dirty`: "
    "whether the tree differed from it; DVC `experiment`, or none; `training_data` and `handwriting`: DVC's hashes of "
    "what it was trained on and of data/; `test_accuracy`"
)
ClassIndex = TypeAliasType(
    "ClassIndex", Annotated[int, Ge(0), Field(description="of the class, in the order of `/model`")]
)
Probabilities = TypeAliasType("Probabilities", list[Share])
Pixel = TypeAliasType("Pixel", Annotated[int, Ge(0), Le(255)])
Pixels = Annotated[list[Pixel], Len(SIDE, SIDE)]


class Box(TypedDict):
    left: Share
    top: Share
    width: Share
    height: Share


Score = Annotated[Share, Field(description="how surely it shows one of the classes at all; 0 for a blank page")]
Conditional = Annotated[Probabilities, Field(description="of each class, given that it shows one of them")]
Confidence = Annotated[Share, Field(description="digit_score × the probability of the class")]
WHY: Final = (
    "why it shows none of the classes, whatever these are: not_a_digit, blank_page, or several_digits, which `/read` "
    "reads if they are digits"
)

TopClass = TypedDict(  # `class` is a keyword, so it cannot be an attribute
    "TopClass",
    {
        "digit": ClassIndex,
        "class": str,
        "confidence": Confidence,
        "reason": None,
        "digit_score": Score,
        "probabilities": Conditional,
    },
)
MaybeClass = TypedDict(
    "MaybeClass",
    {
        "digit": ClassIndex | None,
        "class": str | None,
        "confidence": Confidence | None,
        "reason": Annotated[Reason | None, Field(description=WHY)],
        "digit_score": Score,
        "probabilities": Conditional,
    },
)


@closed
class Prediction(MaybeClass):
    """The answer of `/predict`; digit, class and confidence are null if there is a reason."""

    model: Tag
    seen: NotRequired[Seen]


@closed
class Digit(TopClass):
    """One digit of a row, with its box as shares of the picture's sides."""

    box: Box
    seen: NotRequired[Seen]


@closed
class Reading(TypedDict):
    """The answer of `/read`; `rejected` are the boxes of what is as large as a digit and none."""

    model: Tag
    reason: Literal["blank_page", "not_a_digit"] | None
    text: str
    digits: Annotated[list[Digit], Len(0, MAX_DIGITS)]
    rejected: Annotated[list[Box], Len(0, MAX_DIGITS)]


@closed
class Batch(TypedDict):
    """The JSON body of `/predict_batch`. A pixel in colour is a list of red, green and blue."""

    images: Annotated[list[Annotated[list[Pixels], Len(SIDE, SIDE)]], Len(1, MAX_BATCH)]


@closed
class Predictions(TypedDict):
    """The answer of `/predict_batch`, in the order of the images; a digit is null if there is a reason."""

    model: Tag
    digits: list[ClassIndex | None]
    reasons: list[Literal["blank_page", "not_a_digit"] | None]
    digit_scores: list[Share]
    probabilities: list[Probabilities]


@closed
class Correction(TypedDict):
    """The answer of `/corrections`, once it is stored."""

    correction: Annotated[str, Field(description="the name under which it is stored")]
    label: Annotated[str, Field(description="what the picture shows: a digit, or none")]
    model: Tag


@closed
class Model(TypedDict):
    """The answer of `/model`."""

    model: Tag
    dataset: str
    classes: list[str]
    preprocessing: Annotated[Preprocessing, Field(description="how a picture becomes an image")]
    channels: Annotated[Channels, Field(description="of an image: 1, or 3 of one in colour")]
    threshold: Annotated[Share, Field(description="of the digit score; what is below it shows none of the classes")]
    labels: Annotated[dict[str, str], Field(description=LABELS)]


@closed
class Status(TypedDict):
    """The answer of `/livez` and `/readyz`."""

    status: Literal["alive", "ready"]


@closed
class Problem(TypedDict):
    """Any error response."""

    code: Annotated[str, Field(json_schema_extra={"enum": sorted(STATUS)})]
    message: str
    got: NotRequired[str]
    expected: NotRequired[str]


BODIES: Final = (Prediction, Reading, Batch, Predictions, Correction, Model, Status, Problem)


def component_schemas(classes: int, channels: int = 1) -> Json:
    """The JSON Schemas of OpenAPI 3.1 by the names of the types, for a model of so many classes and channels."""
    mode: Literal["serialization"] = "serialization"
    adapters = [(body.__name__, mode, TypeAdapter[Any](body)) for body in BODIES]
    _, generated = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    schemas: Json = generated["$defs"]
    schemas["Probabilities"] |= {"minItems": classes, "maxItems": classes}
    schemas["ClassIndex"] |= {"maximum": classes - 1}
    if channels == COLOURS:
        schemas["Pixel"] = {"type": "array", "items": schemas["Pixel"], "minItems": COLOURS, "maxItems": COLOURS}
    return schemas
