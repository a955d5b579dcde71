"""Which alias a newly registered model gets."""

from pipeline.tracking.registry import ModelVersion


def choose_alias(champion: ModelVersion | None, accuracy: float, images: str) -> str:
    """`champion` or `challenger`, for a model of this accuracy on the validation images with this MD5 sum."""
    if champion is None:
        return "champion"
    if champion.tags.get("validation_images.md5") != images:
        return "challenger"
    try:
        return "champion" if accuracy >= float(champion.tags["validation_accuracy"]) else "challenger"
    except (KeyError, ValueError):  # a person registered it, or changed the tag: not comparable
        return "challenger"
