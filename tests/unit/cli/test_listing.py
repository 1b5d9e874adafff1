"""`ganger list`: which jobs and in which order."""

import pytest

from builders import at


@pytest.fixture
def names(ganger):
    """Four jobs; a call returns the names that are listed."""
    for name, phase, restarts, created in (
        ("a", "Running", 1, 0),
        ("b", "Failed", 7, 30),
        ("c", "Pending", 0, 10),
        ("d", "Running", 3, 20),
    ):
        job = ganger.job(name, phase=phase, restarts={"total": restarts})
        job["metadata"]["creationTimestamp"] = at(created).isoformat()
        ganger.cluster.put("trainingjobs", job)
    return lambda *arguments: [line.split()[0] for line in ganger("list", "--no-headers", *arguments).out.splitlines()]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), "abcd"),
        (("--sort-by", "age"), "bdca"),
        (("--sort-by", "phase"), "cadb"),
        (("--sort-by", "restarts"), "bdac"),
        (("--phase", "Running"), "ad"),
        (("--phase", "Running", "--phase", "Failed", "--sort-by", "restarts"), "bda"),
    ],
)
def test_jobs_are_chosen_and_sorted(names, arguments, expected):
    assert list(expected) == names(*arguments)


def test_an_order_holds_for_scripts_too(ganger, names):
    said = ganger("list", "-o", "name", "--sort-by", "age")

    assert [f"trainingjob.ganger.dev/{name}" for name in "bdca"] == said.out.split()


def test_that_no_job_is_in_a_phase_is_said(ganger, names):
    said = ganger("list", "--phase", "Suspended")

    assert ("", "no such jobs in namespace team; leave --phase out to see the others\n") == (said.out, said.err)


def test_a_job_that_no_operator_has_looked_at_is_pending(ganger):
    job = ganger.job("new")
    del job["status"]
    ganger.cluster.put("trainingjobs", job)

    assert ganger("list", "--phase", "Pending", "--no-headers").out.startswith("new ")
