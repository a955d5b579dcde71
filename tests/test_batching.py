"""Small requests that wait at the same time are one batch for the model, and each gets the answer that it would get
alone."""

import asyncio
from typing import Any

import numpy as np
import pytest

from serving.http import handlers
from serving.http.batching import BatchQueue
from serving.model import Images, Model
from tests.support.synthetic_digits import synthetic_images


@pytest.fixture(scope="module")
def batches() -> list[Images]:
    """Four requests: of one, three and two images, the first of which is blank, and of one."""
    images = synthetic_images(range(7), np.random.default_rng(1))
    images[4] = 0
    return [images[:1], images[1:4], images[4:6], images[6:]]


def together(queue: BatchQueue, batches: list[Images]) -> list[Any]:
    """What each of several requests gets that arrive in one iteration of the event loop."""

    async def main() -> list[Any]:
        answers: list[Any] = await asyncio.gather(*map(queue.answer, batches), return_exceptions=True)
        return answers

    return asyncio.run(main())


def test_requests_that_wait_together_are_one_run_of_the_model_and_get_the_answers_that_they_get_alone(
    model: Model, batches: list[Images]
) -> None:
    sizes = []

    def predict_batch(images: Images) -> dict[str, Any]:
        sizes.append(len(images))
        return handlers.predict_batch(model, images)

    answers = together(BatchQueue(predict_batch), batches)

    assert sizes == [7]
    for images, answer in zip(batches, answers, strict=True):
        alone = handlers.predict_batch(model, images)
        assert (answer["digits"], answer["reasons"]) == (alone["digits"], alone["reasons"])
        assert np.allclose(answer["probabilities"], alone["probabilities"], atol=1e-6)
        assert np.allclose(answer["digit_scores"], alone["digit_scores"], atol=1e-6)
    assert answers[2]["reasons"][0] == "blank_page"


def test_a_request_alone_waits_for_no_other(model: Model, batches: list[Images]) -> None:
    (answer,) = together(BatchQueue(lambda images: handlers.predict_batch(model, images)), batches[:1])

    assert len(answer["digits"]) == 1


def test_an_error_reaches_all_whose_images_were_in_the_run_and_the_next_run_is_free_of_it(
    model: Model, batches: list[Images]
) -> None:
    def predict_batch(images: Images) -> dict[str, Any]:
        if len(images) > 1:
            raise RuntimeError("out of memory")
        return handlers.predict_batch(model, images)

    queue = BatchQueue(predict_batch)

    assert [str(error) for error in together(queue, batches)] == ["out of memory"] * 4
    assert len(together(queue, batches[:1])[0]["digits"]) == 1
