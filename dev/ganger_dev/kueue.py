"""Kueue's own manager as a process beside a control plane, with its definitions and its webhooks.

Everything is of its Go module: the program is built once (`binaries`), definitions and webhooks come from the module's
files. Two things differ from an installation. The manager runs outside the cluster, so its Service is a name for
loopback; and what a kubelet would do, write the Secret of the webhooks' certificate to disk, is done here.
"""

from __future__ import annotations

import base64
import json
import urllib.error
from pathlib import Path
from typing import Any, Final

import yaml

from ganger_dev import binaries, golang
from ganger_dev.control_plane import ControlPlane
from ganger_dev.paths import write
from ganger_dev.processes import Service, free_ports

NAMESPACE: Final = "kueue-system"
_SERVICE, _SECRET = "kueue-webhook-service", "kueue-webhook-server-cert"
_CRDS = "config/components/crd/bases"
_WEBHOOKS = "config/components/webhook/manifests.yaml"
_CONVERTED = ("workloads", "clusterqueues", "localqueues", "cohorts", "multikueueclusters")
_GROUP = "kueue.x-k8s.io"


def start(plane: ControlPlane, *, user: str = "", pods_ready_seconds: int = 0, tied: bool = True) -> Service:
    """Install Kueue on `plane`, which has none, and return its manager once its webhooks answer. Raises DevError.

    user: of `plane`, whom the audit log knows the manager as; "" for the administrator. pods_ready_seconds: an admitted
    gang whose workers do not all run by then is evicted and queued again a little later; 0: it may wait for ever.
    """
    program = binaries.ensure("kueue")["kueue"]
    folder = plane.folder / "kueue"
    health, webhook, metrics = free_ports(3)
    for manifest in _manifests(webhook):
        _apply(plane, manifest)
    certificates = folder / "certificates"
    certificates.mkdir(parents=True, exist_ok=True)
    config = _configuration(certificates, health, webhook, metrics) | _waiting(pods_ready_seconds)
    write(folder / "config.yaml", json.dumps(config))  # JSON is YAML
    manager = Service(name="kueue", folder=folder)
    command = [str(program), f"--config={folder / 'config.yaml'}", "--zap-log-level=2"]
    access = plane.kubeconfig_for(user) if user else plane.kubeconfig
    manager.start(command, env={"KUBECONFIG": str(access)}, tied=tied)
    manager.wait_ready(lambda: _mounted(plane, certificates))
    manager.wait_ready(lambda: _admits(plane), timeout_seconds=120)
    return manager


def _configuration(certificates: Path, health: int, webhook: int, metrics: int) -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": f"127.0.0.1:{metrics}"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        # Its own 20 requests a second would be what is measured of many gangs.
        "clientConnection": {"qps": 500, "burst": 1000},
        "internalCertManagement": {
            "enable": True, "webhookServiceName": _SERVICE, "webhookSecretName": _SECRET,
        },
        # Its extension API server looks for a pod's service account, and ends the manager where there is none.
        # PriorityBoost: docs/adr/0023-victims.md.
        "featureGates": {"VisibilityOnDemand": False, "PriorityBoost": True},
        "integrations": {
            "frameworks": ["batch/job"],
            "externalFrameworks": [f"{kind}.v1alpha1.ganger.dev" for kind in ("TrainingJob", "DevSession")],
        },
    }  # fmt: skip


def _waiting(seconds: int) -> dict[str, Any]:
    if not seconds:
        return {}
    # Without a limit of their number an evicted gang is queued again however often it happens.
    strategy = {"timestamp": "Eviction", "backoffBaseSeconds": 5, "backoffMaxSeconds": 30}
    return {"waitForPodsReady": {"timeout": f"{seconds}s", "blockAdmission": False, "requeuingStrategy": strategy}}


def _manifests(port: int) -> list[dict[str, Any]]:
    """Return the namespace, the definitions and the webhooks for Kueue's own objects, none for others' jobs."""
    module = golang.module("sigs.k8s.io/kueue", binaries.TOOLS["kueue"].version)
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _SECRET, "namespace": NAMESPACE}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": _SERVICE, "namespace": NAMESPACE},
            # The API server turns this into https://localhost:PORT, and asks there for the Service's certificate.
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
    ]  # fmt: skip
    target = {"name": _SERVICE, "namespace": NAMESPACE, "port": port}
    for path in sorted((module / _CRDS).glob("*.yaml")):
        crd: dict[str, Any] = yaml.safe_load(path.read_text())
        if crd["spec"]["names"]["plural"] in _CONVERTED:
            client = {"service": target | {"path": "/convert"}}
            crd["spec"]["conversion"] = {
                "strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
            }  # fmt: skip
        made.append(crd)
    for configuration in yaml.safe_load_all((module / _WEBHOOKS).read_text()):
        configuration["metadata"]["name"] = f"kueue-{configuration['metadata']['name']}"
        configuration["webhooks"] = [
            one | {"clientConfig": {"service": target | {"path": one["clientConfig"]["service"]["path"]}}}
            for one in configuration["webhooks"]
            if one["rules"][0]["apiGroups"] == [_GROUP]
        ]
        made.append(configuration)
    return made


def _apply(plane: ControlPlane, manifest: dict[str, Any]) -> None:
    kind, metadata = manifest["kind"], manifest["metadata"]
    plural = {
        "Namespace": "namespaces", "Secret": "secrets", "Service": "services",
        "CustomResourceDefinition": "customresourcedefinitions",
        "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
        "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    }[kind]  # fmt: skip
    version = manifest["apiVersion"]
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if "namespace" in metadata:
        path += f"/namespaces/{metadata['namespace']}"
    try:
        plane.api.request("POST", f"{path}/{plural}", manifest)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def _mounted(plane: ControlPlane, folder: Path) -> bool:
    """Whether the certificate that the manager made is on disk by now, as a kubelet would mount it."""
    secret = plane.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/{_SECRET}")
    data = secret.get("data") or {}
    if "tls.crt" not in data:
        return False
    for name, text in data.items():
        (folder / name).write_bytes(base64.b64decode(text))
    return True


def _admits(plane: ControlPlane) -> bool:
    """Whether the API server asks the webhooks, and they answer: a flavor that is only tried gets its finalizer.

    Without one it passed because the API server had not heard of the webhooks yet.
    """
    flavor = {"apiVersion": f"{_GROUP}/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "probe"}}
    try:
        made = plane.api.request("POST", f"/apis/{_GROUP}/v1beta2/resourceflavors?dryRun=All", flavor)
    except OSError:
        return False
    return bool(made["metadata"].get("finalizers"))
