"""When a candidate becomes champion: on which evidence, and with which words."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from dvc.repo import Repo

from pipeline.core.errors import DataError, TrackingError
from pipeline.data.dataset import DIGITS, Split
from pipeline.promotion import criteria, settings
from pipeline.promotion.evaluation import Evaluation, OnnxModel, evaluate
from pipeline.promotion.images import Images, read_images
from pipeline.promotion.verdict import Criterion, Verdict
from pipeline.reports.predictions import Predictions
from serving.model import Model

PARAMS = settings.Params(
    significance=0.05,
    nll_gain=0.05,
    ece_tolerance=0.005,
    min_accuracy=0.9,
    max_refused=0.05,
    latency_ms=10.0,
    size_mb=20.0,
)
LABELS = np.tile(np.arange(10, dtype=np.uint8), 200)
BLANK = np.zeros((2000, 28, 28), np.uint8)
IMAGES = Images(Split(BLANK, LABELS), Split(BLANK[:50], LABELS[:50]), "")


def predictions(wrong: npt.ArrayLike, count: int = 2000, confidence: float = 0.99) -> Predictions:
    """Answers that are wrong for the images with these indices, all of one confidence."""
    digits = LABELS[:count].astype(np.int64)
    digits[np.asarray(wrong, np.int64)] = (digits[np.asarray(wrong, np.int64)] + 1) % 10
    probabilities = np.full((count, 10), (1 - confidence) / 9, np.float32)
    probabilities[np.arange(count), digits] = confidence
    return Predictions(probabilities, np.ones(count, np.float32), 0.5)


def evaluation(wrong: npt.ArrayLike, own: npt.ArrayLike = (), confidence: float = 0.99) -> Evaluation:
    return Evaluation(predictions(wrong, confidence=confidence), predictions(own, 50), 0.2, 0.3, 0.0)


def failed(champion: Evaluation, candidate: Evaluation) -> list[str]:
    return [part.name for part in criteria.comparison(champion, candidate, IMAGES, PARAMS) if not part.passed]


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (2, 10, 0.038574), (10, 2, 0.038574)],
)
def test_mcnemars_test_is_exact(worse: int, better: int, p: float) -> None:
    """The figures are those of scipy.stats.binomtest(worse, worse + better)."""
    assert criteria.mcnemar(worse, better) == pytest.approx(p, abs=1e-6)


def test_a_tail_of_many_images_is_a_probability() -> None:
    assert criteria.binomial_tail(5000, 10000) == pytest.approx(0.504, abs=1e-3)


def test_a_candidate_with_the_same_answers_is_no_better() -> None:
    champion = evaluation(np.arange(20))

    assert failed(champion, champion) == ["evidence"]


def test_a_few_images_more_or_fewer_are_chance() -> None:
    champion = evaluation(np.arange(20))

    assert failed(champion, evaluation(np.arange(3, 20))) == ["evidence"]  # three images better, none worse
    assert failed(champion, evaluation(np.arange(22))) == ["evidence"]


def test_a_candidate_that_is_significantly_more_accurate_is_better() -> None:
    assert failed(evaluation(np.arange(40)), evaluation(np.arange(10))) == []


def test_a_candidate_that_is_significantly_less_accurate_is_refused() -> None:
    assert {"accuracy", "NLL", "evidence"} <= set(failed(evaluation(np.arange(10)), evaluation(np.arange(40))))


def test_a_lower_loss_with_the_same_mistakes_is_evidence_if_it_is_large_enough() -> None:
    champion = evaluation(np.arange(20), confidence=0.9)

    assert failed(champion, evaluation(np.arange(20), confidence=0.95)) == []
    assert failed(champion, evaluation(np.arange(20), confidence=0.901)) == ["evidence"]


def test_a_class_that_got_worse_refuses_a_model_that_is_better_on_average() -> None:
    of_class_3 = np.flatnonzero(LABELS == 3)[:20]
    others = np.flatnonzero(LABELS != 3)[:80]

    (part,) = [part for part in criteria.comparison(evaluation(others), evaluation(of_class_3), IMAGES, PARAMS)
               if not part.passed]  # fmt: skip

    assert part.name == "classes"
    assert part.text.startswith("class 3 has the most evidence of being worse: 20 are wrong now, 0 right now, p = ")


def test_one_more_mistake_in_own_handwriting_refuses() -> None:
    champion, candidate = evaluation(np.arange(40), own=[1]), evaluation(np.arange(10), own=[1, 2])

    assert failed(champion, candidate) == ["own handwriting"]
    assert failed(champion, evaluation(np.arange(10), own=[2])) == []


def test_confidences_that_are_less_to_be_trusted_refuse() -> None:
    champion, candidate = evaluation(np.arange(200), confidence=0.9), evaluation(np.arange(20), confidence=0.75)

    assert "ECE" in failed(champion, candidate)


@pytest.mark.parametrize(
    ("candidate", "name"),
    [
        (evaluation(np.arange(300)), "limit of accuracy"),
        (evaluation(())._replace(latency_ms=11.0), "latency"),
        (evaluation(())._replace(size_mb=21.0), "size"),
        (evaluation(())._replace(golden_difference=0.1), "golden pictures"),
        (evaluation(())._replace(golden_difference=float("nan")), "golden pictures"),
    ],
)
def test_a_first_champion_has_to_be_within_the_limits(candidate: Evaluation, name: str) -> None:
    assert [part.name for part in criteria.limits(candidate, IMAGES, PARAMS) if not part.passed] == [name]


def test_a_model_that_refuses_digits_is_outside_of_the_limits() -> None:
    answers = predictions(())
    refusing = evaluation(())._replace(validation=answers._replace(scores=(LABELS != 3).astype(np.float32)))

    assert [part.name for part in criteria.limits(refusing, IMAGES, PARAMS) if not part.passed] == ["limit of refusals"]


def test_a_model_is_evaluated_by_its_onnx_file(model: Model, digits: Split) -> None:
    exported = OnnxModel(model.path.read_bytes(), "mnist version 1")
    nothing = Split(digits.images[:0], digits.labels[:0])

    one, other = evaluate([exported, exported], Images(digits, nothing, ""))

    assert exported.classes == DIGITS
    assert np.allclose(one.validation.probabilities, model.classify(digits.images)[0], atol=1e-6)
    assert one.golden_difference < criteria.TOLERANCE
    assert one.handwriting.probabilities.shape == (0, 10)
    assert 0 < one.latency_ms < float("inf")
    assert one.size_mb == other.size_mb == len(model.path.read_bytes()) / 1e6


def test_a_changed_weight_is_seen_in_the_golden_pictures(model: Model) -> None:
    proto = onnx.load(model.path)
    weights = next(tensor for tensor in proto.graph.initializer if len(tensor.raw_data) > 100)
    weights.raw_data = bytes(len(weights.raw_data))

    assert OnnxModel(proto.SerializeToString(), "mnist version 2").golden_difference() > criteria.TOLERANCE


def test_a_file_that_is_no_model_is_named() -> None:
    with pytest.raises(TrackingError, match="mnist version 3: expected an ONNX file as `export` writes it, got: "):
        OnnxModel(b"no model", "mnist version 3")


@pytest.mark.parametrize("md5", ["", "0" * 32 + ".dir"])
def test_images_that_nobody_has_are_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, md5: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    with pytest.raises(DataError, match="expected the validation images with which the model was trained"):
        read_images(md5, DIGITS, None)


def verdict(passed: bool, force: str | None = None) -> Verdict:
    return Verdict("mnist", "3", "2", [Criterion("NLL", passed, "0.02 → 0.01")], "4,999 validation images", force)


def test_a_verdict_has_its_reasons_in_the_terminal_and_in_mlflow() -> None:
    refused = verdict(False)

    assert refused.text() == (
        "mnist version 3: refused; compared with the champion, version 2\n"
        "  FAILED  NLL  0.02 → 0.01\n"
        "  on      4,999 validation images"
    )
    assert "| **failed** | NLL | 0.02 → 0.01 |" in refused.markdown()
    assert refused.tags("today") == {
        "promotion": "refused",
        "promotion.reasons": refused.text(),
        "promotion.champion": "2",
        "promotion.date": "today",
    }


def test_a_forced_promotion_names_its_reason_and_one_that_needs_no_force_is_not_forced() -> None:
    assert verdict(False, "the other one is broken").title.startswith(
        "mnist version 3: forced (the other one is broken)"
    )
    assert verdict(True, "the other one is broken").outcome == "promoted"
