"""`ganger shell -f`: the pod that is made, entered and removed; what is refused. The pod is played by the test."""

import asyncio

import pytest

from ganger.kube.errors import Forbidden
from unit.cli.conftest import MANIFEST
from unit.cli.devs import until
from unit.cli.test_shell import EXITED, SUCCESS, ends

PROFILE = {
    "metadata": {"name": "gpu", "namespace": "team"},
    "spec": {"image": "profiled:1", "nodeSelector": {"a": "b"}},
}
CHECKPOINTS = "  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"


@pytest.fixture(autouse=True)
def no_input(monkeypatch, tmp_path):
    path = tmp_path / "stdin"
    path.write_bytes(b"")
    monkeypatch.setattr("sys.stdin", path.open())


def of_shell(ganger):
    return [item for (plural, name), item in ganger.cluster.objects.items() if plural == "pods" and "-shell-" in name]


@pytest.fixture
def starts(ganger):
    """Let the pod go through these states once it is made; what it was is in the list that is returned."""

    def starts(*states, phase="Running"):
        seen = []

        async def scenario():
            await until(lambda: of_shell(ganger))
            (pod,) = of_shell(ganger)
            seen.append(pod)
            for state in states:
                status = {"phase": phase, "containerStatuses": [{"name": "trainer", "state": state}]}
                ganger.cluster.put("pods", pod | {"status": status})
                await asyncio.sleep(0.02)

        ganger.scenario = scenario
        return seen

    return starts


RUNS = {"running": {"startedAt": "2026-01-01T12:00:00Z"}}


def test_a_pod_like_a_worker_is_made_entered_and_removed(ganger, manifest, starts):
    seen = starts({"waiting": {"reason": "ContainerCreating"}}, RUNS)
    ganger.streams.pod = ends(EXITED % 3, b"inside")

    said = ganger("shell", "-f", manifest(), "--image", "x:1", "--", "ls", "-l")

    (pod,) = seen
    name = pod["metadata"]["name"]
    assert (3, "inside") == (said.code, said.out), said.err
    assert [f"create {name}", f"delete {name} {name}-uid"] == ganger.cluster.writes
    assert ("x:1", True) == (pod["spec"]["containers"][0]["image"], name.startswith("digits-shell-"))
    assert (name, ["trainer"], ["ls", "-l"]) == (
        ganger.streams.opened[0][0],
        ganger.streams.opened[0][2]["container"],
        ganger.streams.opened[0][2]["command"],
    )
    assert f"{name}: ContainerCreating" in said.err
    assert "trainingjobs" not in {plural for plural, _ in ganger.cluster.objects}


def test_the_profile_of_the_cluster_is_in_it(ganger, manifest, starts):
    ganger.cluster.put("trainingprofiles", PROFILE)
    seen = starts(RUNS)
    ganger.streams.pod = ends(SUCCESS)
    path = manifest(MANIFEST + "  profile: gpu\n")

    assert 0 == ganger("shell", "-f", path, "--", "true").code
    assert ("profiled:1", {"a": "b"}) == (
        seen[0]["spec"]["containers"][0]["image"],
        seen[0]["spec"]["nodeSelector"],
    )


@pytest.mark.parametrize(
    "spec, what",
    [
        (None, "is neither in namespace team nor in ganger-system"),
        ({"nodeSelector": {"a": "b"}, "image": "a b"}, "does not fit the job"),
    ],
)
def test_a_profile_that_is_not_there_or_does_not_fit_is_told_and_no_pod_is_made(ganger, manifest, spec, what):
    if spec is not None:
        ganger.cluster.put("trainingprofiles", PROFILE | {"spec": spec})
    path = manifest(MANIFEST + "  profile: gpu\n")

    said = ganger("shell", "-f", path)

    assert "error: no shell for digits was opened" == said.problem[0]
    assert what in said.problem[1]
    assert [] == ganger.cluster.writes


@pytest.mark.parametrize("there", [True, False])
def test_checkpoints_that_are_there_are_mounted_for_reading(ganger, manifest, starts, there):
    if there:
        ganger.cluster.put("persistentvolumeclaims", {"metadata": {"name": "digits-checkpoints"}})
    seen = starts(RUNS)
    ganger.streams.pod = ends(SUCCESS)
    path = manifest(MANIFEST + CHECKPOINTS)

    said = ganger("shell", "-f", path, "--", "true")

    assert 0 == said.code, said.err
    assert there == ("digits-checkpoints" in str(seen[0]["spec"]["volumes"]))
    assert there != ("there are no checkpoints yet" in said.err)


def test_a_claim_that_the_job_brings_and_that_is_not_there_is_told(ganger, manifest):
    path = manifest(MANIFEST + CHECKPOINTS.replace("size: 1Gi", "claimName: models"))

    said = ganger("shell", "-f", path)

    assert (3, "  why: there is no claim models", []) == (said.code, said.problem[1], ganger.cluster.writes)


def test_a_pod_that_does_not_start_is_told_and_removed(ganger, manifest, starts):
    starts({"terminated": {"exitCode": 127, "reason": "Error"}}, phase="Failed")

    said = ganger("shell", "-f", manifest())

    assert (1, "  why: Failed (exit 127)") == (said.code, said.problem[1])
    assert [] == of_shell(ganger)


def test_a_mistake_of_the_manifest_is_told_with_its_line(ganger, manifest):
    said = ganger("shell", "-f", manifest(workers="nodes"))

    assert (2, "error: no shell was opened", []) == (said.code, said.problem[0], ganger.cluster.writes)
    assert "job.yaml:7: spec.nodes: unknown field" in said.err


def test_who_may_not_make_pods_is_told_so(ganger, manifest):
    ganger.cluster.refusal = Forbidden(403, "Forbidden", 'User "ann" cannot create resource "pods"')

    said = ganger("shell", "-f", manifest())

    assert (5, '  why: User "ann" cannot create resource "pods"') == (said.code, said.problem[1])


@pytest.mark.parametrize(
    "options, text",
    [
        (["digits", "-f", "FILE"], "NAME and -f both say of which job"),
        (["-f", "FILE", "ls"], "a command stands behind --"),
        (["-f", "FILE", "--new"], "-f makes a pod of its own"),
        (["-f", "FILE", "--rank", "1"], "-f makes a pod of its own"),
        (["-f", "-"], "-f - is not possible here"),
        (["--", "ls"], "of which job?"),
    ],
)
def test_words_that_contradict_each_other_are_refused(ganger, manifest, options, text):
    path = manifest()

    said = ganger("shell", *(path if one == "FILE" else one for one in options))

    assert 2 == said.code
    assert text in said.problem[0]
