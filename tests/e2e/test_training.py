"""The main job, as a user meets it: kubectl apply, real data, two pods, a model, a checkpoint, nothing left over."""

from pathlib import Path

import pytest
import yaml

from apiclient import wait_for

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"


def metrics(status):
    """The last metrics by name."""
    return {metric["name"]: float(metric["value"]) for metric in status["progress"]["metrics"]}


def example(name):
    return yaml.safe_load((EXAMPLES / name / "job.yaml").read_text())


def test_digits_trains_in_two_pods_to_more_than_95_percent(namespace):
    namespace.apply(example("digits"))
    status = namespace.wait_phase("digits", "Complete")
    volume = namespace.volume("digits-checkpoints")

    assert metrics(status)["accuracy"] > 0.95
    assert "100%" == status["progress"]["percent"]
    assert status["checkpoint"]["verified"]
    assert status["checkpoint"]["latestStep"] == status["progress"]["step"]
    assert (volume / f"step_{status['checkpoint']['latestStep']}" / "manifest.json").exists()
    assert ["digits-0-0", "digits-0-1"] == sorted(pod["metadata"]["name"] for pod in namespace.pods("digits"))


def test_a_deleted_job_leaves_nothing_but_a_retained_volume(namespace):
    kept, dropped = example("digits"), example("digits")
    dropped["metadata"]["name"] = "dropped"
    dropped["spec"]["checkpoint"]["volume"]["whenDeleted"] = "Delete"
    for job in (kept, dropped):
        job["spec"]["config"]["epochs"] = 1
        namespace.apply(job)
    for name in ("digits", "dropped"):
        namespace.wait_phase(name, "Complete")
    namespace.kubectl("delete", "tj", "--all")

    def left():
        found = namespace.kubectl("get", "tj,pods,services,endpointslices,pvc,leases,podgroups", "-o", "name")
        return sorted(found.split())

    wait_for(lambda: left() == ["persistentvolumeclaim/digits-checkpoints"], 60, f"only the kept claim, not {left()}")


@pytest.mark.parametrize(("name", "seconds"), [("quadratic", 90), ("fashion_mnist", 300), ("chargpt", 300)])
def test_example_trains_to_what_it_promises(namespace, name, seconds):
    job = example(name)
    namespace.apply(job)
    status = namespace.wait_phase(job["metadata"]["name"], "Complete", seconds)
    if name == "quadratic":
        said = namespace.logs(job["metadata"]["name"])
        assert [True] * 3 == [f"d loss / d {who} = {value}" in said for who, value in (("x", 5), ("w", 10), ("b", 5))]
        assert metrics(status)["loss"] < 1e-3
    elif name == "fashion_mnist":
        assert metrics(status)["accuracy"] > 0.90
    else:
        assert metrics(status)["loss"] < 2.5  # nats a character; the frequencies of the characters alone give about 3.1


def test_kubectl_shows_what_a_person_asks_first(namespace):
    job = example("quadratic")
    namespace.apply(job)
    name = job["metadata"]["name"]
    namespace.wait_phase(name, "Complete")
    header, row = namespace.kubectl("get", "tj", name).splitlines()

    assert ["NAME", "PHASE", "WORKERS", "STEP", "PROGRESS", "LOSS", "RESTARTS", "AGE"] == header.split()
    assert "Complete" in row
    described = namespace.kubectl("describe", "tj", name)
    assert "Complete" in described.split("Events:")[1]
