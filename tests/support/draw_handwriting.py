"""Draw the pictures in data/: `python -m tests.support.draw_handwriting data`."""

import argparse
from pathlib import Path

from pipeline.core.files import write_bytes
from tests.support.synthetic_digits import PICTURE_SUFFIXES, pictures


def other_pictures(folder: Path, files: dict[Path, bytes]) -> list[Path]:
    """Pictures below `folder` that are not, byte for byte, among `files`."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES]
    return [path for path in found if path.read_bytes() != files.get(path)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw twelve pictures of each digit.")
    parser.add_argument("folder", type=Path, help="output folder, such as data")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    files = {folder / path: data for path, data in pictures(arguments.seed).items()}
    if others := other_pictures(folder, files):
        raise SystemExit(
            f"{folder} holds {len(others)} pictures that this command does not write; "
            f"the first is {others[0]}. Move them, or choose another folder."
        )
    for path, data in files.items():
        write_bytes(path, data)
    size = sum(map(len, files.values()))
    print(f"{len(files)} pictures, {size / 1e6:.2f} MB, in {folder}")


if __name__ == "__main__":
    main()
