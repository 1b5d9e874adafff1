"""JobSet's controller: a JobSet becomes Jobs and a headless Service, the Jobs become pods."""

from typing import Any

from bench.peers import manager
from ganger_dev.control_plane import ControlPlane
from ganger_dev.processes import Service

NAME = "jobset"
PATH = "/apis/jobset.x-k8s.io/v1alpha2"
# What patches/*.yaml beside the published webhooks say: only pods of JobSets are looked at.
_OF_JOBSETS = {"matchExpressions": [{"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}]}


def start(plane: ControlPlane, *, qps: int | None, burst: int | None) -> Service:
    """Install JobSet on `plane` and return its manager once its webhooks answer. qps None: its own default, 500."""
    source = manager.published(NAME) / "config" / "components"
    manager.define(plane, source / "crd" / "bases")
    health, webhook, _ = manager.ports()
    folder = manager.certificates(plane, NAME, plane.folder / NAME / "certificates")
    config: dict[str, Any] = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": str(folder)},
        "metrics": {"bindAddress": "0"},
        "internalCertManagement": {"enable": False},
        "leaderElection": {"leaderElect": False},
    }
    if qps is not None:
        config["clientConnection"] = {"qps": qps, "burst": burst}
    started = manager.run(plane, NAME, config, health)
    manager.intercept(
        plane, NAME, source / "webhook" / "manifests.yaml", webhook,
        selectors={"mpod.kb.io": _OF_JOBSETS, "vpod.kb.io": _OF_JOBSETS},
    )  # fmt: skip
    # Its defaulting adds a network section: without it the API server has not heard of the webhooks yet.
    manager.until(lambda: "network" in _tried(plane)["spec"], "JobSet's webhooks do not answer")
    return started


def stop(plane: ControlPlane, started: Service) -> None:
    """End the manager and remove its webhooks."""
    manager.release(plane, NAME)
    started.stop()


def _tried(plane: ControlPlane) -> Any:
    container = {"name": "node", "image": "none"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "probe"},
        "spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": template}}}]},
    }
    return plane.api.request("POST", f"{PATH}/namespaces/default/jobsets?dryRun=All", body)
