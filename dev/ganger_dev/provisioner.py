"""Volumes for claims of the default StorageClass: a folder each, offered as a `local` volume bound to its claim.

`local` and not hostPath, because only a `local` volume gets the pod's fsGroup, as a volume of a real cluster does.
The volume names its claim by UID: the controller manager then binds the two at once instead of at its next round.
This is a program of its own: `python -m ganger_dev.provisioner FOLDER NODE` runs beside the kubelet.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev.control_plane import attach
from ganger_dev.kubeconfig import Api

STORAGE_CLASS = "ganger-local"
PROVISIONER = "ganger.dev/local-folder"
_BY = "pv.kubernetes.io/provisioned-by"
_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
# A pod without fsGroup still writes when it runs as the user of the project's images.
_OWNER, _MODE = 1000, 0o2770
_WATCH_SECONDS = 300


def storage_class() -> dict[str, Any]:
    """Return the default StorageClass. Immediate: there is one node, so there is nothing to wait for."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def wanted(claim: dict[str, Any]) -> bool:
    """Return whether a claim waits for a volume of ours. Pure."""
    spec, meta = claim["spec"], claim["metadata"]
    ours = spec.get("storageClassName") == STORAGE_CLASS and spec.get("volumeMode", "Filesystem") == "Filesystem"
    return bool(ours) and not spec.get("volumeName") and "deletionTimestamp" not in meta


def released(volume: dict[str, Any]) -> bool:
    """Return whether a volume of ours has lost its claim and is to be deleted with its content. Pure."""
    ours: bool = volume["metadata"].get("annotations", {}).get(_BY) == PROVISIONER
    policy = volume["spec"].get("persistentVolumeReclaimPolicy")
    return ours and policy == "Delete" and volume.get("status", {}).get("phase") == "Released"


def volume(claim: dict[str, Any], *, path: Path, node: str) -> dict[str, Any]:
    """Return the volume that satisfies `claim` from the folder `path` on `node`. Pure."""
    meta, spec = claim["metadata"], claim["spec"]
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name_of(claim), "annotations": {_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


def name_of(claim: dict[str, Any]) -> str:
    """Return the name of a claim's volume: one for each UID, so that a second attempt meets the first one's volume."""
    return f"pvc-{claim['metadata']['uid']}"


@dataclass(frozen=True, kw_only=True)
class Provisioner:
    """Makes and removes volumes below `folder` on `node`."""

    api: Api
    folder: Path
    node: str

    def provide(self, claim: dict[str, Any]) -> None:
        """Make the folder and the volume of a claim that waits for one."""
        if not wanted(claim):
            return
        path = self.folder / name_of(claim)
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, _OWNER, _OWNER)
        path.chmod(_MODE)
        with _already(409):
            self.api.request("POST", _VOLUMES, volume(claim, path=path, node=self.node))

    def withdraw(self, found: dict[str, Any]) -> None:
        """Remove a released volume and its content."""
        if released(found):
            name = found["metadata"]["name"]
            shutil.rmtree(self.folder / name, ignore_errors=True)
            with _already(404):
                self.api.request("DELETE", f"{_VOLUMES}/{name}")

    def follow(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield every object of a collection, and again whenever one changes, until the server ends the watch."""
        listed = self.api.request("GET", path)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        url = f"{self.api.url}{path}?watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.api.context()))
        with urllib.request.build_opener(*handlers).open(url, timeout=_WATCH_SECONDS + 30) as stream:
            for line in stream:
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]

    def run(self, path: str) -> None:
        """Serve one collection for ever; whatever fails is tried again from a fresh list."""
        act = self.provide if path == _CLAIMS else self.withdraw
        while True:
            try:
                for found in self.follow(path):
                    act(found)
            except (OSError, ValueError, KeyError) as error:
                print(f"{path}: {error!r}; listing again", flush=True)
                time.sleep(1)


def main() -> None:
    """Serve the cluster in the folder given as first argument, on the node given as second."""
    folder, node = Path(sys.argv[1]), sys.argv[2]
    plane = attach(folder)
    assert plane is not None, f"no control plane in {folder}"
    masters = ("system:masters",)
    user = plane.authority.issue("provisioner", user="system:local-provisioner", groups=masters)
    provisioner = Provisioner(api=Api(url=plane.url, ca=plane.ca, user=user), folder=folder / "volumes", node=node)
    threading.Thread(target=provisioner.run, args=(_VOLUMES,), daemon=True).start()
    provisioner.run(_CLAIMS)


@contextlib.contextmanager
def _already(code: int) -> Iterator[None]:
    """Take an HTTP answer of that code for success: somebody did it before."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code != code:
            raise


if __name__ == "__main__":
    main()
