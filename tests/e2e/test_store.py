"""A race that `make test` repeats a few times, repeated often."""

from pathlib import Path

from tests.support.opening_stores import start_together


def test_processes_that_open_a_fresh_store_at_once_all_get_the_same_experiment_every_time(tmp_path: Path) -> None:
    start_together(tmp_path, starts=50)
