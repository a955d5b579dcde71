"""What the classes of a model are called in the API's description. The page has the same in `messages.js`."""

from typing import Literal


def noun(classes: tuple[str, ...]) -> Literal["digit", "letter", "character", "item"]:
    """`character` if they are digits and letters, `item` if they have longer names."""
    if classes == tuple("0123456789"):
        return "digit"
    if any(len(name) > 1 or not name.isalnum() for name in classes):
        return "item"
    return "letter" if all(name.isalpha() for name in classes) else "character"


def title(classes: tuple[str, ...]) -> str:
    return "What is it?" if noun(classes) == "item" else f"Handwritten {noun(classes)}s"
