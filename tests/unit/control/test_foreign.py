"""The body of Hugging Face's callback; the callback itself runs in tests/e2e."""

import json

import msgspec
import pytest

from ganger.control import foreign


def body(percentage=None, **metrics):
    status = {"lastUpdatedTime": "2026-11-25T12:00:00+00:00"}
    if percentage is not None:
        status["progressPercentage"] = percentage
    if metrics:
        status["metrics"] = [{"name": name, "value": str(value)} for name, value in metrics.items()]
    return json.dumps({"trainerStatus": status}).encode()


def read(data, **more):
    return foreign.decode(data, attempt=1, worker=0, **more)


def test_a_step_is_understood():
    said = read(body(25, current_step=30, total_steps=120, current_epoch=1.5, loss=2.25, learning_rate=1e-3, grad=0.5))

    assert (1, 0, 30, 120, 1) == (said.attempt, said.worker, said.step, said.total_steps, said.epoch)
    assert (2.25, 1e-3, {"grad": 0.5}) == (said.loss, said.learning_rate, said.metrics)


def test_the_first_body_has_a_total_alone():
    said = read(body(0, total_steps=120))

    assert (0, 120) == (said.step, said.total_steps)


@pytest.mark.parametrize(("known", "expected"), [(120, (120, 120)), (None, (100, 100))])
def test_the_last_body_has_a_percentage_alone(known, expected):
    said = read(body(100, train_loss=0.1), known_total=known)

    assert expected == (said.step, said.total_steps)


def test_values_that_are_no_numbers_are_left_out():
    assert {} == read(body(1, total_flos="nan", name="bert", more="inf")).metrics


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"trainerStatus": {"progressPercentage": 101}}', body(1, **{"n" * 65: 1})]
)
def test_another_body_is_refused(data):
    with pytest.raises(msgspec.DecodeError):
        read(data)
