"""Which alias a newly registered model gets."""

from pipeline.tracking.registry import ModelVersion


def choose_alias(champion: ModelVersion | None, accuracy: float, images: str) -> str:
    """`champion` or `challenger`, for a model of this accuracy on the validation images with this MD5 sum."""
    if champion is None:
        return "champion"
    comparable = champion.tags.get("validation_images.md5") == images
    return "champion" if comparable and accuracy >= float(champion.tags["validation_accuracy"]) else "challenger"
