"""A training that is killed resumes from its last checkpoint."""

from pathlib import Path

from tests.support.killed_training import check_kills, slow_training
from tests.support.project_clone import Clone


def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(computed: Clone, tmp_path: Path) -> None:
    counted = check_kills(slow_training(computed, tmp_path / "clone"), kills=3)

    assert counted.resumed >= 1
