"""What `make test` tries twice, tried more often."""

from pathlib import Path

from tests.test_killed import check_kills, slow_training
from tests.workplace import Workplace


def test_a_training_killed_many_times_at_random_moments_ends_with_the_same_bytes(
    computed: Workplace, tmp_path: Path
) -> None:
    check_kills(slow_training(computed, tmp_path / "clone"), kills=5)
