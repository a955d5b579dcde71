"""The probabilities of the pictures in data/: those that `score` wrote, and those that a service returns."""

import csv

import httpx2

from tests.support.project_clone import Clone

TOLERANCE = 1e-5


def scored_pictures(clone: Clone) -> dict[str, list[float]]:
    """The probabilities that `score` wrote for each picture in data/, by file name."""
    with (clone.folder / "artifacts/score/tables/handwriting.csv").open(newline="") as file:
        return {row["file"]: [float(row[f"p{digit}"]) for digit in range(10)] for row in csv.DictReader(file)}


def answered_pictures(url: str, clone: Clone, names: list[str]) -> list[list[float]]:
    """The probabilities that the service at `url` returns for these pictures in data/."""
    probabilities = []
    with httpx2.Client(base_url=url, timeout=30) as client:
        for name in names:
            response = client.post("/predict", files={"picture": (clone.folder / "data" / name).read_bytes()})
            assert response.status_code == 200, (name, response.text)
            probabilities.append(response.json()["probabilities"])
    return probabilities
