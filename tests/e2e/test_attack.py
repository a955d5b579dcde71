"""Attacks on the service of MNIST's champion: `make attack`, each for a shorter time."""

from tests.support.attack import MEMORY, attack


def test_no_attack_takes_much_memory_a_worker_or_all_answers_of_honest_clients(bento: str) -> None:
    assert attack(bento, seconds=0.7, report=lambda line: None) < MEMORY
