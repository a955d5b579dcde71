"""docs/questions.md says what the recorded results say, and a claim is judged by its confidence interval."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.experiments import question_colours, questions, sweep_file
from pipeline.experiments.questions import DOCUMENT, FOLDER, Claim

QUESTIONS = questions.load()
SWEEPS = [name for question in QUESTIONS for name in question.sweeps]
CLAIM = Claim(statement="So it is.", of={"width": "2"}, to={"width": "1"}, expected="higher")


def results(gains: list[float]) -> pd.DataFrame:
    """Those of two widths, of which the second is better by these percentage points, seed by seed."""
    rows = [
        {"dataset": "mnist", "width": width, "seed": seed, "test_accuracy": 0.9 + 0.01 * seed + gain / 100}
        for seed, better in enumerate(gains, 1)
        for width, gain in (("1", 0.0), ("2", better))
    ]
    return pd.DataFrame(rows)


def test_the_page_is_what_the_recorded_results_give() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == questions.document(QUESTIONS), "`make questions` writes it"


def test_all_ten_questions_are_there() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("name", SWEEPS)
def test_every_experiment_of_a_sweep_is_recorded_with_five_seeds_or_more(name: str) -> None:
    rows = questions.read_results(name)
    keys = questions.varied(rows.columns)
    recorded = {(*values, seed) for *values, seed in rows[[*keys, "seed"]].itertuples(index=False)}

    assert recorded == {(*each.varied.values(), each.seed) for each in sweep_file.load(name).experiments}
    assert rows.groupby(keys).size().min() >= 5


def test_every_figure_of_the_page_is_there() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    links = [line.partition("](")[2].rstrip(")") for line in lines if line.startswith("![")]

    assert len(links) > 10
    assert [link for link in links if not (DOCUMENT.parent / link).is_file()] == []
    drawn = {f"questions/{name}.png" for name in SWEEPS}
    assert drawn <= set(links)
    assert {path.name for path in FOLDER.glob("*.png")} == {Path(link).name for link in links}


@pytest.mark.parametrize(
    ("gains", "direction"),
    [
        ([0.3, 0.3, 0.4, 0.2, 0.3], "higher"),
        ([-0.3, -0.3, -0.4, -0.2, -0.3], "lower"),
        ([0.3, -0.4, 0.5, -0.2, 0.1], "same"),
    ],
)
def test_a_difference_counts_if_zero_is_outside_of_its_interval(gains: list[float], direction: str) -> None:
    assert questions.difference(results(gains), CLAIM).direction == direction


def test_differences_are_paired_by_seed_whose_spread_does_not_count() -> None:
    found = questions.difference(results([0.2, 0.2, 0.2, 0.2, 0.3]).sample(frac=1, random_state=1), CLAIM)

    assert found.mean == pytest.approx(0.0022)
    assert found.margin == pytest.approx(2.776 * 0.02 / 100, rel=1e-3)  # t(4), and the standard error of the mean


def test_a_verdict_names_each_data_set_with_its_difference() -> None:
    clothes = results([-0.1, -0.2, -0.1, -0.1, -0.1]).assign(dataset="fashion_mnist")
    both = pd.concat([results([0.3, 0.3, 0.4, 0.2, 0.3]), clothes])

    text = questions.verdict(both, CLAIM)

    assert text.startswith("- So it is. On MNIST it holds (+0.30 ± 0.09); on Fashion-MNIST it **does not hold** (-0.12")


def test_the_tables_have_a_row_for_each_configuration() -> None:
    table = questions.table(results([0.1, 0.1]).assign(test_f1=0.5, handwriting_accuracy=1.0))

    assert table[0] == "| width | MNIST: test accuracy | MNIST: test F1 | MNIST: own handwriting |"
    assert table[2] == "| `1` | 91.50 ± 0.71 % | 50.00 ± 0.00 % | 100.00 ± 0.00 % |"
    assert len(table) == 4


def test_a_network_of_three_channels_has_a_larger_first_layer_and_costs_more() -> None:
    recorded = pd.DataFrame(
        {"variant": ["grey", "random_colour", "random_colour"], "training_cpu_seconds": [20.0, 30.0, 50.0]}
    )

    head, _, grey, _, colour, *_ = question_colours.text(recorded)

    assert head == "| variant | parameters | MFLOP an image | CPU seconds of the training |"
    (parameters, flop), (more, most) = [
        (int(row.split(" | ")[1].replace(",", "")), float(row.split(" | ")[2])) for row in (grey, colour)
    ]
    assert more - parameters == 2 * 5 * 5 * 8
    assert most - flop == pytest.approx(2 * 2 * 5 * 5 * 8 * 24**2 / 1e6, abs=0.01)
    assert (grey[-5:], colour[-5:]) == (" 20 |", " 40 |")
