"""A peer's controller manager as a process beside a control plane, with its definitions and its webhooks.

Everything comes from its Go module, as it was published. Three things differ from an installation. The manager runs
outside the cluster, so its webhooks are reached at a loopback address, with a certificate of the cluster's authority
where cert-manager or the peer itself would make one; one replica runs, so it elects no leader; and it has a name of its
own in the audit log.
"""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ganger_dev import binaries, golang
from ganger_dev.control_plane import ControlPlane
from ganger_dev.errors import DevError
from ganger_dev.processes import Service, free_ports

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
STARTS = (
    3  # a manager that starts before discovery knows its definitions ends at once, and in a cluster is started again
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a megabyte of definitions takes ten seconds without


def published(name: str) -> Path:
    """Return the folder of the peer's published source. Raises DevError."""
    return golang.module(binaries.TOOLS[name].module, binaries.TOOLS[name].version)


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a published file."""
    yield from (one for one in yaml.load_all(path.read_text(), Loader=_LOADER) if one)


def post(plane: ControlPlane, path: str, manifest: Mapping[str, Any]) -> None:
    """Create an object; one of that name that is there already may stay."""
    try:
        plane.api.request("POST", path, manifest)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return once `condition` is true; a server that does not answer is false. Raises DevError after that time."""
    deadline = time.monotonic() + seconds
    last = "it said no"
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise DevError(f"{what} within {seconds:g} s", last, "Read the logs of the control plane.")


def define(plane: ControlPlane, folder: Path) -> None:
    """Create every definition of a folder that is not there yet, and return once the API server serves them."""
    # Files are named GROUP_PLURAL.yaml; each has nearly a megabyte, which a start for every turn should not read.
    names = {"{2}.{0}".format(*path.stem.partition("_")): path for path in sorted(folder.glob("*_*.yaml"))}
    there = {one["metadata"]["name"] for one in plane.api.request("GET", CRDS)["items"]}
    for name in names.keys() - there:
        for manifest in documents(names[name]):
            post(plane, CRDS, manifest)
    for name in names:
        until(lambda name=name: _established(plane, name), f"no definition {name} is served")  # type: ignore[misc]


def intercept(plane: ControlPlane, name: str, path: Path, port: int, *, selectors: Mapping[str, Any]) -> None:
    """Create the webhooks of a published file under names of that peer, for a manager on loopback.

    selectors: objectSelector by webhook, what the peer's own patches add to the published file.
    """
    bundle = base64.b64encode(plane.ca.read_bytes()).decode()
    for manifest in documents(path):
        manifest["metadata"]["name"] = f"{name}-{manifest['metadata']['name']}"
        for webhook in manifest["webhooks"]:
            url = f"https://127.0.0.1:{port}{webhook['clientConfig']['service']['path']}"
            webhook["clientConfig"] = {"url": url, "caBundle": bundle}
            if webhook["name"] in selectors:
                webhook["objectSelector"] = selectors[webhook["name"]]
        post(plane, f"{ADMISSION}/{KINDS[manifest['kind']]}", manifest)


def release(plane: ControlPlane, name: str) -> None:
    """Remove the webhooks of that peer, which nobody would answer when its manager is gone."""
    for plural in KINDS.values():
        for one in plane.api.request("GET", f"{ADMISSION}/{plural}")["items"]:
            if one["metadata"]["name"].startswith(f"{name}-"):
                plane.api.request("DELETE", f"{ADMISSION}/{plural}/{one['metadata']['name']}")


def certificates(plane: ControlPlane, name: str, folder: Path) -> Path:
    """Write the certificate of a webhook on loopback below `folder`, under the names that a Secret has. Return it."""
    pair = plane.authority.issue(f"{name}-webhook", user=f"{name}-webhook", hosts=("127.0.0.1", "localhost"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (folder / "tls.key").write_bytes(pair.key.read_bytes())
    return folder


def run(plane: ControlPlane, name: str, config: Mapping[str, Any], health: int, **environment: str) -> Service:
    """Start the peer's manager and return it once it says that it is ready. Raises DevError."""
    program = binaries.ensure(name)[name]
    folder = plane.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    manager = Service(name=name, folder=folder)
    settings = {"KUBECONFIG": str(plane.kubeconfig_for(name))} | environment
    for number in range(STARTS):
        manager.start([str(program), f"--config={file}"], env=settings, tied=True)
        try:
            manager.wait_ready(lambda: _ready(health))
        except DevError:
            manager.stop()
            if number == STARTS - 1:
                raise
            time.sleep(2)
        else:
            break
    return manager


def ports() -> tuple[int, int, int]:
    """Return free ports for health, webhooks and metrics."""
    health, webhook, metrics = free_ports(3)
    return health, webhook, metrics


def _established(plane: ControlPlane, name: str) -> bool:
    status = plane.api.request("GET", f"{CRDS}/{name}").get("status", {})
    return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ())


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
