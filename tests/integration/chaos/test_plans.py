"""A sample of the crash plans on the real API server; `make chaos` runs all of them."""

import logging
import os
import random

import pytest

from chaos import tally
from chaos.real import NAMES, Plane, campaign, faults, references

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]
# More than these are plans of every scenario: GANGER_CHAOS_PLANS=600 is all of them.
PLANS = int(os.environ.get("GANGER_CHAOS_PLANS", "30"))
KILLS = int(os.environ.get("GANGER_CHAOS_KILLS", "8"))
SAMPLE = NAMES if PLANS > 30 else ("counted-failure", "suspend-resume", "delete-while-starting")


@pytest.fixture
def plane(control_plane, crd):
    logging.disable(logging.CRITICAL)
    yield Plane(
        url=control_plane.url,
        ca=str(control_plane.ca),
        token=control_plane.token_for("admin"),
        kubeconfig=str(control_plane.kubeconfig),
    )
    logging.disable(logging.NOTSET)


async def test_a_death_at_a_write_changes_nothing(plane, capsys):
    expected = await references(plane, SAMPLE)
    draw = random.Random(5)
    plans = faults(expected)
    in_process = await campaign(
        "real API server, the operator dies in its process", plane, expected, _some(plans, PLANS, draw)
    )
    deadly = _some(faults(expected, deadly=True), KILLS, draw)
    killed = await campaign("real API server, SIGKILL of the operator", plane, expected, deadly, is_process=True)
    with capsys.disabled():
        print(f"\n{in_process.table()}\n\n{killed.table()}")
    tally.add("a real API server", in_process.events + killed.events)

    assert [] == in_process.failures + killed.failures
    assert (min(len(plans), PLANS), KILLS) == (in_process.plans, killed.plans)


def _some(plans, count, draw):
    return plans if len(plans) <= count else draw.sample(plans, count)
