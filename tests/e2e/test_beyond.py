"""A model in parts over two real pods: FSDP2 as the example's page tells to start it."""

from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.e2e
SHARDED = Path(__file__).parents[2] / "jobs" / "examples" / "beyond" / "sharded"


def test_two_pods_hold_half_of_a_model_each_and_save_it_whole(namespace):
    namespace.kubectl("create", "configmap", "sharded", f"--from-file={SHARDED / 'train.py'}")
    namespace.apply(yaml.safe_load((SHARDED / "job.yaml").read_text()))
    status = namespace.wait_phase("sharded", "Complete")

    for rank, held in ((0, 34241), (1, 34112)):
        assert f"rank {rank} of 2 holds {held} of 68353 numbers" in namespace.kubectl("logs", f"sharded-0-{rank}")
    assert (200, "100%") == (status["progress"]["step"], status["progress"]["percent"])
    assert float(status["progress"]["loss"]) < 10
    assert (namespace.volume("sharded-checkpoints") / "sharded.safetensors").stat().st_size > 3 * 4 * 68353
