"""The verdict of `make soak`, and the traffic that it sends."""

from collections import Counter

import pytest

from benchmarks.soak import Window, grown
from benchmarks.traffic import Kind, arrivals

CALM = Window(
    requests=1000, refused=50, memory=230.0, handles=60, threads=12, processor=400.0, p50=1.0, p99=9.0, p99_picture=20.0
)


def test_what_stays_as_it_is_is_no_growth() -> None:
    assert grown([CALM] * 12) == []


def test_a_warm_up_in_the_first_quarter_is_no_growth() -> None:
    assert grown([CALM._replace(memory=100.0, handles=20)] * 3 + [CALM] * 9) == []


@pytest.mark.parametrize(
    ("field", "step", "sentence"),
    [
        ("memory", 5.0, "memory: from 250.0 to 280.0 MB"),
        ("handles", 2, "handles: from 68.0 to 80.0"),
        ("threads", 1, "threads: from 16.0 to 22.0"),
        ("processor", 40.0, "processor: from 560.0 to 800.0 µs"),
        ("p50", 1.0, "p50: from 5.0 to 11.0 ms"),
    ],
)
def test_what_grows_from_window_to_window_is_named(field: str, step: float, sentence: str) -> None:
    windows = [CALM._replace(**{field: getattr(CALM, field) + step * number}) for number in range(12)]

    assert grown(windows) == [sentence]


def test_one_slow_window_is_no_growth() -> None:
    assert grown([*[CALM] * 10, CALM._replace(p50=30.0), CALM]) == []


def test_requests_arrive_at_the_rate_and_in_the_shares_that_are_asked_for() -> None:
    expected = {"image": Kind(3, b"", 200), "picture": Kind(1, b"", 200)}
    found = list(arrivals(expected, rate=100, seconds=100, seed=1))
    times, names = zip(*found, strict=True)

    assert len(found) == 10_000
    assert times == tuple(sorted(times))
    assert times[-1] == pytest.approx(100, rel=0.05)
    assert Counter(names)["image"] == pytest.approx(7500, rel=0.05)
    assert found == list(arrivals(expected, rate=100, seconds=100, seed=1))
