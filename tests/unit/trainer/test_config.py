"""spec.config is checked against the task's own class: wrong keys and values are told, never guessed."""

import pytest

from ganger.contract import ExitCode
from ganger_trainer import TrainConfig, UserError
from ganger_trainer.config import decode


class Config(TrainConfig, frozen=True, kw_only=True):
    num_layers: int = 2


def complaint(text, kind=Config):
    with pytest.raises(UserError) as raised:
        decode(text, kind)
    assert ("ConfigInvalid", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)
    return str(raised.value)


def test_names_are_camel_case_and_values_keep_their_types():
    config = decode('{"numLayers": 3, "batchSize": 8, "lr": 0.5, "compile": true}', Config)

    assert (3, 8, 0.5, True) == (config.num_layers, config.batch_size, config.lr, config.compile)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("batchsize", "batchSize"), ("numLayer", "numLayers"), ("num_layers", "numLayers"), ("epoch", "epochs"),
        ("percision", "precision"), ("LR", "lr"), ("clipnorm", "clipNorm"),
    ],
)  # fmt: skip
def test_unknown_key_is_refused_with_the_key_that_was_meant(key, meant):
    message = complaint(f'{{"{key}": 1}}')

    assert f"unknown key {key!r}, did you mean {meant!r}?" in message


def test_unknown_key_that_is_like_no_other_lists_the_known_ones():
    message = complaint('{"zzzzzz": 1}')

    assert "did you mean" not in message
    assert "Known keys: batchSize, clipNorm, compile, dataWorkers" in message
    assert "numLayers" in message


def test_unknown_key_inside_a_key_is_refused_with_what_may_be_there():
    message = complaint('{"mlflow": {"trackingUrl": "http://x"}}')

    assert "unknown key 'trackingUrl' in 'mlflow', did you mean 'trackingUri'? Known keys: experiment, trackingUri" in (
        message
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"batchSize": "64"}', "Expected `int`, got `str` - at `batchSize`"),
        ('{"batchSize": 64.5}', "Expected `int`, got `float` - at `batchSize`"),
        ('{"compile": 1}', "Expected `bool`, got `int` - at `compile`"),
        ('{"batchSize": 0}', "Expected `int` >= 1 - at `batchSize`"),
        ('{"lr": 0}', "lr must be a finite number > 0, got 0.0"),
        ('{"lr": -1.0}', "lr must be a finite number > 0"),
        ('{"clipNorm": 0}', "clipNorm must be a finite number > 0"),
        ('{"epochs": 1, "steps": 1}', "set epochs or steps, not both"),
        ('{"batchSize": 8, "microBatch": 9}', "microBatch 9 must not exceed batchSize 8"),
        ('{"logEverySeconds": 0}', "Expected `float` > 0.0 - at `logEverySeconds`"),
        ('{"tensorboard": 1}', "Expected `bool | str`, got `int` - at `tensorboard`"),
        ('{"mlflow": {}}', "missing required field `trackingUri` - at `mlflow`"),
        ("[1]", "Expected `object`, got `array`"),
        ("{", "config is not JSON"),
    ],
)
def test_wrong_value_is_refused_with_its_key_and_what_is_allowed(text, words):
    assert words in complaint(text)


def test_wrong_word_is_refused_with_the_allowed_words():
    message = complaint('{"precision": "fp8"}')

    assert "Invalid enum value 'fp8' - at `precision`, allowed: fp32, bf16, fp16" in message


def test_several_problems_are_told_at_once():
    message = complaint('{"lr": 0, "clipNorm": -1, "epochs": 1, "steps": 2}')

    assert all(word in message for word in ("lr must", "clipNorm must", "not both"))
