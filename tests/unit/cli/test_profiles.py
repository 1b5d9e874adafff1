"""Profiles on the command line: beside the job or in a file of their own, checked, rendered, and shown by status."""

import pytest
import yaml

PROFILE = """\
apiVersion: ganger.dev/v1alpha1
kind: TrainingProfile
metadata: {name: gpu}
spec:
  image: gpu:v1
  resources: {limits: {memory: 2Gi}}
  checkpoint: {volume: {size: 5Gi}}
"""
JOB = """\
apiVersion: ganger.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits}
spec:
  task: m:t
  profile: gpu
  checkpoint: {everySteps: 5}
"""


@pytest.fixture
def beside(manifest):
    return manifest(f"{PROFILE}---\n{JOB}", "both.yaml")


@pytest.fixture
def apart(manifest):
    return manifest(JOB, "job.yaml"), manifest(PROFILE, "gpu.yaml")


def test_a_profile_beside_the_job_is_valid_with_it(ganger, beside):
    said = ganger("validate", beside)

    assert (0, [f"{beside}: gpu is valid", f"{beside}: digits is valid"]) == (said.code, said.out.splitlines())
    assert "" == said.err


def test_validate_says_what_it_could_not_check(ganger, apart):
    said = ganger("validate", apart[0])

    assert 0 == said.code
    assert "profile gpu is not at hand: what it adds is not checked (--profile FILE)" in said.err
    assert "" == ganger("validate", apart[0], "--profile", apart[1]).err


def test_a_job_that_its_profile_breaks_is_blamed_in_its_own_file(ganger, manifest):
    profile = manifest(PROFILE.replace("{size: 5Gi}", "{whenDeleted: Delete}"), "gpu.yaml")
    job = manifest(JOB, "job.yaml")

    said = ganger("validate", job, "--profile", profile)

    assert 2 == said.code
    assert said.out.startswith(f"{job}:7: spec.checkpoint.volume: volume is required in checkpoint")
    assert "(with profile gpu)" in said.out


def test_every_mistake_of_a_profile_has_its_line(ganger, manifest):
    path = manifest(PROFILE.replace("image: gpu:v1", "workers: 2\n  priorityClassName: system-x"), "gpu.yaml")

    said = ganger("validate", path)

    assert 2 == said.code
    assert [f"{path}:5", f"{path}:6"] == [line.partition(": ")[0] for line in said.out.splitlines()]
    assert "spec.workers: unknown field" in said.out


@pytest.mark.parametrize("where", ["beside", "apart"])
def test_render_shows_the_pods_with_the_values_of_the_profile(ganger, request, where):
    given = request.getfixturevalue(where)
    arguments = [given] if where == "beside" else [given[0], "--profile", given[1]]

    said = ganger("render", *arguments)

    assert (0, "") == (said.code, said.err)
    claim, pod = yaml.safe_load_all(said.out)
    assert "5Gi" == claim["spec"]["resources"]["requests"]["storage"]
    (container,) = pod["spec"]["containers"]
    assert ("gpu:v1", {"memory": "2Gi"}) == (container["image"], container["resources"]["limits"])
    assert "ganger.dev/profile" in pod["metadata"]["annotations"]


@pytest.mark.parametrize("command", ["render", "run"])
def test_what_needs_the_profile_says_where_to_put_it(ganger, apart, command):
    said = ganger(command, apart[0])

    assert 2 == said.code
    assert f"{apart[0]}:6: spec.profile: gpu is not at hand; put it beside the job" in said.err


def test_the_profile_of_the_jobs_own_namespace_is_taken_first(ganger, manifest):
    others = PROFILE.replace("{name: gpu}", "{name: gpu, namespace: ganger-system}")
    own = PROFILE.replace("{name: gpu}", "{name: gpu, namespace: team}").replace("gpu:v1", "team:v1")
    path = manifest(f"{others}---\n{own}---\n{JOB.replace('{name: digits}', '{name: digits, namespace: team}')}")

    assert "image: team:v1" in ganger("render", path).out


def test_a_file_of_profiles_without_one_is_a_mistake(ganger, apart):
    said = ganger("render", apart[0], "--profile", apart[0])

    assert 2 == said.code
    assert f"{apart[0]}: holds no TrainingProfile" in said.err


def test_a_file_with_profiles_alone_has_no_job(ganger, apart):
    said = ganger("render", apart[1])

    assert 2 == said.code
    assert f"{apart[1]}: holds no TrainingJob" in said.err


def test_submit_makes_no_profile_by_the_way(ganger, beside):
    said = ganger("submit", beside)

    assert 2 == said.code
    assert f"{beside}:2: kind: apply the TrainingProfile with kubectl, once" in said.err
    assert [] == ganger.cluster.writes


def test_submit_sends_the_job_as_it_was_written(ganger, apart):
    assert 0 == ganger("submit", apart[0]).code

    sent = ganger.cluster.objects["trainingjobs", "digits"]
    assert {"task": "m:t", "profile": "gpu", "checkpoint": {"everySteps": 5}} == sent["spec"]


def test_run_runs_with_the_values_of_the_profile(ganger, manifest):
    job = JOB.replace("task: m:t", 'command: [sh, -c, "echo $GREETING"]').replace("  checkpoint: {everySteps: 5}\n", "")
    profile = manifest(PROFILE + "  env: [{name: GREETING, value: hello from the profile}]\n", "gpu.yaml")

    said = ganger("run", manifest(job, "job.yaml"), "--profile", profile)

    assert 0 == said.code
    assert "hello from the profile" in said.out


def test_status_shows_the_profile_and_reads_the_job_with_it(ganger):
    kept = {
        "name": "gpu",
        "namespace": "ganger-system",
        "generation": 3,
        "values": {"failurePolicy": {"maxRestarts": 9}},
    }
    restarts = {"total": 1, "counted": 1}
    ganger.job(spec={"profile": "gpu"}, Running="AllWorkersRun", profile=kept, restarts=restarts)

    said = ganger("status", "digits").out
    assert "Profile     gpu of namespace ganger-system, generation 3" in said
    assert "1 counted (at most 9)" in said


def test_status_of_a_job_that_waits_for_its_profile_says_what_to_do(ganger):
    text = "profile gpu is neither in namespace team nor in ganger-system: create it there"
    condition = {"type": "PodsReady", "status": "False", "reason": "WaitingForProfile", "message": text}
    ganger.job(spec={"profile": "gpu"}, message=text)
    ganger.cluster.objects["trainingjobs", "digits"]["status"]["conditions"] = [condition]

    said = ganger("status", "digits").out
    assert "Profile     gpu, not read yet" in said
    assert "Hint        the profile gpu does not exist" in said
