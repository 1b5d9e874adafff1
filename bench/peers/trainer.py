"""Kubeflow Trainer's controller: a TrainJob becomes a JobSet by its runtime. JobSet's controller runs beside it."""

from typing import Any

from bench.peers import manager
from ganger_dev.control_plane import ControlPlane
from ganger_dev.processes import Service

NAME = "trainer"
PATH = "/apis/trainer.kubeflow.org/v1alpha1"
RUNTIME = "torch-distributed"


def start(plane: ControlPlane, *, qps: int | None, burst: int | None) -> Service:
    """Install Trainer on `plane`, where JobSet is, and return its manager once its webhooks answer.

    qps None: what the published configuration says, 50 and a burst of 100.
    """
    source = manager.published(NAME) / "manifests" / "base"
    manager.define(plane, source / "crds")
    health, webhook, metrics = manager.ports()
    folder = plane.folder / NAME
    manager.certificates(plane, NAME, folder / "k8s-webhook-server" / "serving-certs")
    config: dict[str, Any] = next(manager.documents(source / "manager" / "controller_manager_config.yaml"))
    config |= {
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "webhook": {"host": "127.0.0.1", "port": webhook},
        "metrics": {"bindAddress": f"127.0.0.1:{metrics}", "secureServing": False},
        "certManagement": {"enable": False},
        "leaderElection": {"leaderElect": False},
    }
    if qps is not None:
        config["clientConnection"] = {"qps": qps, "burst": burst}
    # It knows no setting for the folder of its certificate but the one for temporary files.
    started = manager.run(plane, NAME, config, health, TMPDIR=str(folder))
    manager.intercept(plane, NAME, source / "webhook" / "manifests.yaml", webhook, selectors={})
    runtime = next(manager.documents(source / "runtimes" / "torch_distributed.yaml"))
    manager.post(plane, f"{PATH}/clustertrainingruntimes", runtime)
    # A runtime that is none is refused by the webhook alone.
    manager.until(lambda: _refuses(plane), "Trainer's webhooks do not answer")
    return started


def stop(plane: ControlPlane, started: Service) -> None:
    """End the manager and remove its webhooks."""
    manager.release(plane, NAME)
    started.stop()


def _refuses(plane: ControlPlane) -> bool:
    body = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "probe"},
        "spec": {"runtimeRef": {"name": "there-is-none"}},
    }
    try:
        plane.api.request("POST", f"{PATH}/namespaces/default/trainjobs?dryRun=All", body)
    except OSError as error:
        return "webhook" in str(getattr(error, "fp", None) and error.fp.read())  # type: ignore[attr-defined]
    return False
