"""Many gangs in two queues of a real Kueue, on simulated nodes: what `make gangs` shows, at a small size."""

import asyncio
from fractions import Fraction

import msgspec
import pytest

from apiclient import ApiClient, History
from ganger_dev import binaries
from ganger_dev.gangs import scale as sizes
from ganger_dev.gangs.judge import judged
from ganger_dev.gangs.play import play
from ganger_dev.gangs.scale import GPU, SMALL
from ganger_dev.gangs.world import NAMESPACE, opened

pytestmark = pytest.mark.integration


def rules(expected, outcome):
    """Which rules the run broke, judged by what is expected now."""
    return {one.rule for one in judged(expected, outcome.facts, outcome.ended).violations}


def test_gangs_in_two_queues_all_finish_none_stays_in_part_and_no_quota_is_exceeded(tmp_path):
    if binaries.missing(["kueue"]):
        pytest.skip("Kueue's manager is not built: `python -m ganger_dev.binaries kueue` builds it in about 5 minutes")
    with opened(SMALL, tmp_path) as world:
        history = History(ApiClient(world.plane.url, world.plane.ca, world.plane.token_for("admin")), NAMESPACE)
        outcome = asyncio.run(play(world, SMALL))
        history.close()
    assert [] == outcome.trouble
    assert [] == outcome.figures["violations"]
    assert [] == history.check()
    assert (24, 24) == (outcome.figures["complete"], outcome.figures["gangs"])

    # What was seen does break the rules where they are a little stricter: the judge has looked.
    expected = sizes.expected(SMALL)
    for queue in sizes.QUEUES:
        used = outcome.figures["queues"][queue][GPU]
        assert used["mostAdmitted"] == SMALL.quota
        less = expected.quota | {queue: expected.quota[queue] | {GPU: Fraction(SMALL.quota - 1)}}
        assert {"quota"} == rules(msgspec.structs.replace(expected, quota=less), outcome)
    assert {"partial"} == rules(msgspec.structs.replace(expected, partial_seconds=0.0), outcome)
    more = expected.gangs | {"batch-99": expected.gangs["batch-0"]}
    assert {"unfinished"} == rules(msgspec.structs.replace(expected, gangs=more), outcome)
