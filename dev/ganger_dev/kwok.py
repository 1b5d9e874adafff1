"""Simulated nodes: kwok's flags, its stages, and the nodes that it plays.

kwok without stages does nothing. Its own `fast` stages are used as they are published with the program, except the one
that completes a Job's pod at once: a simulated worker here runs until somebody ends it, or, where its environment says
so (`ENV_SECONDS`), ends well after that time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from ganger_dev import golang
from ganger_dev.binaries import TOOLS

_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)
_COMPLETE = "pod/fast/pod-complete.yaml"
# By default four pods change at once, and a thousand that start together wait for each other, as no kubelets do. The
# others are kwok's defaults, which it forgets where it is given any option in a file.
_OPTIONS: Final = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {
        "podPlayStageParallelism": 32,
        "nodePlayStageParallelism": 4,
        "nodeLeaseParallelism": 4,
        "podsOnNodeSyncParallelism": 1,
        "enablePodsOnNodeSyncStreamWatch": True,
        "cidr": "10.0.0.0/24",
    },
}
ENV_SECONDS: Final = "SIMULATED_SECONDS"  # of a worker's first container: for how long it runs, as 20s


def node(index: int, *, gpus: int, cpu: int, memory: str) -> dict[str, Any]:
    """Return the manifest of simulated node number `index`."""
    capacity = {"cpu": str(cpu), "memory": memory, "pods": "1000", "nvidia.com/gpu": str(gpus)}
    name = f"kwok-{index}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def flags(kubeconfig: Path, stages: Path, port: int, *, lease_seconds: int = 40) -> list[str]:
    """Return the flags of a kwok that plays every annotated node of the cluster and leaves a real one alone.

    lease_seconds: of each node, which renews it four times in that time.
    """
    return [
        f"--kubeconfig={kubeconfig}", f"--config={stages}", "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--node-lease-duration-seconds={lease_seconds}", f"--server-address=127.0.0.1:{port}",
    ]  # fmt: skip


def write_stages(folder: Path) -> Path:
    """Write kwok's options and the stages below `folder` and return the file."""
    target = folder / "kwok-stages.yaml"
    if not target.exists():
        source = _published() / "kustomize" / "stage"
        published = [(source / name).read_text() for name in _STAGES]
        complete = yaml.safe_load((source / _COMPLETE).read_text())
        target.write_text("\n---\n".join([yaml.safe_dump(_OPTIONS), *published, yaml.safe_dump(timed(complete))]))
    return target


def timed(complete: dict[str, Any]) -> dict[str, Any]:
    """Return the stage that completes a pod for pods that say after which time, in place of those of a Job."""
    seconds = f'.spec.containers[0].env[]? | select(.name == "{ENV_SECONDS}") | .value'
    selector = complete["spec"]["selector"]
    others = [one for one in selector["matchExpressions"] if not one["key"].startswith(".metadata.ownerReferences")]
    spec = {
        "selector": selector | {"matchExpressions": [*others, {"key": seconds, "operator": "Exists"}]},
        "delay": {"durationFrom": {"expressionFrom": seconds}},
    }
    return complete | {"spec": complete["spec"] | spec}


def _published() -> Path:
    """Return the folder of kwok's published source, fetched again if Go's cache was emptied since the build."""
    return golang.module(TOOLS["kwok"].module, TOOLS["kwok"].version)
