"""Which alias a newly registered model gets."""

from pipeline.tracking.registry import ModelVersion


def choose_alias(champion: ModelVersion | None, version: ModelVersion) -> str:
    """`champion` or `challenger`, by the accuracy on the same validation images."""
    if champion is None:
        return "champion"
    if champion.tags.get("validation_images.md5") != version.tags.get("validation_images.md5"):
        return "challenger"
    try:
        accuracy, best = (float(each.tags["validation_accuracy"]) for each in (version, champion))
    except (KeyError, ValueError):  # a person registered it, or changed the tag: not comparable
        return "challenger"
    return "champion" if accuracy >= best else "challenger"
