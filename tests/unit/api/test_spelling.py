"""An unknown field comes with what was meant."""

import pytest

from ganger.api.spelling import ELSEWHERE, meant
from ganger.api.types import TrainingJobSpec

FIELDS = TrainingJobSpec.__struct_encode_fields__


@pytest.mark.parametrize(
    "word, advice",
    [
        ("worker", "did you mean 'workers'?"),
        ("Workers", "did you mean 'workers'?"),
        ("failure_policy", "did you mean 'failurePolicy'?"),
        ("service-account-name", "did you mean 'serviceAccountName'?"),
        ("replicas", "use 'workers'"),
        ("backoffLimit", "use 'failurePolicy.maxRestarts'"),
        ("hostPath", "use 'claim', 'configMap', 'secret', 'emptyDir', 'image' or 'ephemeral'"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_advice_on_a_word(word, advice):
    assert advice == meant(word, FIELDS)


def test_where_nothing_is_near_a_short_list_of_fields_is_told_whole():
    assert "the fields here are a, b" == meant("zzz", ["b", "a"])


def test_a_word_of_another_system_is_never_a_field_of_ours():
    """Its advice would hide the field."""
    assert set() == set(ELSEWHERE) & set(FIELDS)
