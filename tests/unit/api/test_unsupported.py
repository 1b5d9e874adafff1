"""What a later version brings is refused by name, with what to do until then."""

import msgspec
import pytest

from builders import job
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.api.unsupported import UNSERVED, unsupported
from ganger.api.validate import check
from ganger.contract import LABEL_QUEUE

ASKED = {
    "spec.export": {"export": [{"format": "onnx"}]},
}


@pytest.mark.parametrize("path", [field.path for field in UNSERVED])
def test_a_field_that_is_not_served_yet_is_refused_though_the_schema_has_it(path):
    asking = job(**ASKED[path])

    assert [] == check(asking)
    (refused,) = unsupported(asking)
    assert path == refused.path
    assert str(refused).startswith(f"{path}: is not supported by this version; ")
    assert refused.remedy


def test_a_queue_is_served():
    plain = job()
    metadata = msgspec.structs.replace(plain.metadata, labels={LABEL_QUEUE: "team-a"})

    assert [] == unsupported(msgspec.structs.replace(plain, metadata=metadata))


def test_a_field_at_its_default_asks_for_nothing():
    assert [] == unsupported(TrainingJob(spec=TrainingJobSpec()))
    assert [] == unsupported(job(liveConfig={}, export=[], failurePolicy={"nonFinite": "Fail", "rules": []}))


def test_live_settings_are_served():
    assert [] == unsupported(job(liveConfig={"lr": 1}))
