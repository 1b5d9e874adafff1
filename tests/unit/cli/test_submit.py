"""`ganger submit`: what is sent, and what is told where it is refused."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import yaml

from ganger.kube.errors import Cause, Forbidden, Invalid, NotFound, Unauthorized, Unreachable, from_answer


def test_the_manifest_is_sent_as_it_was_written(ganger, manifest):
    said = ganger("submit", "-f", manifest(), "-n", "vision")

    assert (0, "digits submitted\n") == (said.code, said.out)
    sent = ganger.cluster.objects["trainingjobs", "digits"]
    assert {"task": "m:t", "workers": 2} == sent["spec"]
    assert "vision" == sent["metadata"]["namespace"]
    assert [
        "in namespace vision; next:",
        "  ganger watch digits -n vision     live: progress, loss, workers",
        "  ganger logs -f digits -n vision   every worker, through restarts",
        "  ganger status digits -n vision    what it waits for, what to do about it",
    ] == said.err.splitlines()


def test_of_several_jobs_each_has_a_line(ganger, manifest):
    one = Path(manifest()).read_text()

    said = ganger("submit", manifest(one + "---\n" + one.replace("digits", "second"), "two.yaml"))

    assert ["digits submitted", "second submitted"] == said.out.splitlines()
    assert [f"watch it with: ganger watch {name} -n team" for name in ("digits", "second")] == said.err.splitlines()


def test_a_dry_run_of_the_client_opens_no_cluster_and_prints_what_would_be_sent(ganger, manifest):
    path = manifest()
    ganger._connect = None

    said = ganger("submit", path, "--dry-run=client", "-n", "vision")

    assert (0, "") == (said.code, said.err)
    expected = yaml.safe_load(Path(path).read_text())
    expected["metadata"]["namespace"] = "vision"
    assert expected == yaml.safe_load(said.out)


def test_a_dry_run_of_the_server_prints_what_it_would_store_and_stores_nothing(ganger, manifest):
    said = ganger("submit", manifest(), "--dry-run", "server")

    assert (0, "stored-uid") == (said.code, yaml.safe_load(said.out)["metadata"]["uid"])
    assert [] == ganger.cluster.writes


def test_what_the_server_would_refuse_a_dry_run_tells_with_its_line(ganger, manifest):
    cause = Cause(reason="FieldValueInvalid", message="is odd", field="spec.workers")
    ganger.cluster.refusal = Invalid(422, "Invalid", "is invalid", causes=(cause,))
    path = manifest()

    said = ganger("submit", path, "--dry-run=server")

    assert 2 == said.code
    assert [
        "error: rehearsing digits in namespace team failed",
        f"  why: {path}:7: spec.workers: is odd",
    ] == said.problem[:2]


def test_a_dry_run_cannot_be_watched(ganger, manifest):
    said = ganger("submit", manifest(), "--dry-run=server", "--watch")

    assert (2, "leave one out" in said.err) == (said.code, True)


def test_nothing_is_sent_while_any_manifest_has_a_mistake(ganger, manifest):
    good, bad = manifest(), manifest(name="bad.yaml", workers="nodes")

    said = ganger("submit", good, bad)

    assert 2 == said.code
    assert [] == ganger.cluster.writes
    assert f"{bad}:7: spec.nodes: unknown field; use 'workers'" in said.err
    assert [
        "error: nothing was submitted",
        "  why: a mistake in the manifest",
        "  fix: correct the lines above",
    ] == said.problem


def test_objects_of_other_kinds_are_left_to_kubectl(ganger, manifest):
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n"
    path = manifest(other + Path(manifest()).read_text())

    said = ganger("submit", path)

    assert 2 == said.code
    assert f"{path}:2: kind: ConfigMap is no TrainingJob" in said.err


def test_a_taken_name_is_a_problem_by_default(ganger, manifest):
    ganger.job()

    said = ganger("submit", manifest())

    assert 2 == said.code
    assert [
        "error: submitting digits to namespace team failed",
        '  why: trainingjobs "digits" already exists',
        "  fix: choose another name, or --if-exists skip or --if-exists replace",
    ] == said.problem


def test_replace_deletes_the_very_job_that_is_there(ganger, manifest):
    ganger.job()

    said = ganger("submit", manifest(), "--if-exists", "replace")

    assert (0, "digits replaced\n") == (said.code, said.out)
    assert ["create digits", "delete digits digits-uid", "create digits"] == ganger.cluster.writes


REFUSALS = [
    (
        NotFound(404, "NotFound", 'namespaces "team" not found'),
        3,
        "there is no namespace team",
        "kubectl create namespace team, or name another one with -n",
    ),
    (
        from_answer(404, b"404 page not found\n"),
        3,
        "the operator is not installed in this cluster: it does not know TrainingJobs",
        "helm install ganger charts/ganger -n ganger-system --create-namespace",
    ),
    (
        Forbidden(403, "Forbidden", 'admission webhook "budget.acme.io" denied the request: no GPUs on Sundays'),
        5,
        'admission webhook "budget.acme.io" denied the request: no GPUs on Sundays',
        "change what the policy names, or ask who runs the cluster's policies for an exception",
    ),
    (
        Forbidden(403, "Forbidden", 'User "ann" cannot create resource "trainingjobs"'),
        5,
        'User "ann" cannot create resource "trainingjobs"',
        "ask an administrator for the ClusterRole ganger-edit (ganger-view to read) in this namespace",
    ),
    (
        Unauthorized(401, "Unauthorized", "Unauthorized"),
        5,
        "the API server does not accept these credentials",
        "log in again, or choose other credentials with --kubeconfig or --context",
    ),
    (
        Unreachable("ClientConnectorError (Connection refused)"),
        5,
        "the API server did not answer: ClientConnectorError (Connection refused)",
        "check that the cluster is up, that --context names the right one, and that it is reachable from here",
    ),
]


@pytest.mark.parametrize("error, code, why, fix", REFUSALS)
def test_a_refusal_is_three_lines(ganger, manifest, error, code, why, fix):
    ganger.cluster.refusal = error

    said = ganger("submit", manifest())

    assert code == said.code
    assert [
        "error: submitting digits to namespace team failed",
        f"  why: {why}",
        f"  fix: {fix}",
    ] == said.problem
    assert "Traceback" not in said.err


def test_a_refused_field_is_told_with_its_line(ganger, manifest):
    causes = (Cause(reason="FieldValueInvalid", message="Invalid value: 2: is odd\x1b[2J", field="spec.workers"),)
    ganger.cluster.refusal = Invalid(422, "Invalid", "is invalid", causes=causes)
    path = manifest()

    said = ganger("submit", path)

    assert 2 == said.code
    assert f"  why: {path}:7: spec.workers: Invalid value: 2: is odd\\x1b[2J" in said.problem


@pytest.mark.parametrize("condition, code", [("Complete", 0), ("Failed", 1)])
def test_watching_prints_the_logs_and_mirrors_the_end(ganger, manifest, condition, code):
    ganger.logs.pods = {"digits-0-0": ["2026-01-01T12:00:01Z step 1\n"], "digits-0-1": ["2026-01-01T12:00:01Z hello\n"]}

    async def scenario():
        await ganger.cluster.made.wait()
        for worker in (0, 1):
            ganger.pod(worker)
        await asyncio.sleep(0.02)
        for worker in (0, 1):
            ganger.pod(worker, phase="Succeeded" if code == 0 else "Failed")
        ganger.job(**{condition: "Test"})

    ganger.scenario = scenario

    said = ganger("submit", manifest(), "--watch")

    assert code == said.code, said.err
    assert {"worker-0 | step 1", "worker-1 | hello"} <= set(said.out.splitlines())


def test_watching_takes_one_job(ganger, manifest):
    one = Path(manifest()).read_text()
    two = manifest(one + "---\n" + one.replace("digits", "second"), "two.yaml")

    said = ganger("submit", two, "--watch")

    assert 2 == said.code
    assert [] == ganger.cluster.writes
    assert "error: --watch takes one job, not 2" == said.problem[0]


def test_ctrl_c_leaves_the_watched_job_alone_and_says_so(ganger, manifest):
    async def scenario():
        await ganger.cluster.made.wait()
        await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    ganger.scenario = scenario

    said = ganger("submit", manifest(), "--watch")

    assert 130 == said.code
    assert "digits goes on; follow it with: ganger logs -f digits -n team\n" in said.err
    assert said.err.endswith("interrupted\n")
    assert ["create digits"] == ganger.cluster.writes
