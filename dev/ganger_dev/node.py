"""The one real node of the embedded cluster: kubelet, kube-proxy, and CoreDNS as programs of the host."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev import binaries
from ganger_dev.containerd import Containerd
from ganger_dev.control_plane import ControlPlane, component_kubeconfig
from ganger_dev.network import Network
from ganger_dev.paths import write
from ganger_dev.processes import Service, accepts, free_ports

GPUS = 8
_MASTERS = ("system:masters",)


@dataclass(frozen=True, kw_only=True)
class Node:
    """The programs that make a node of this machine."""

    name: str
    folder: Path
    network: Network
    containerd: Containerd

    def service(self, name: str) -> Service:
        """Return one of the node's programs."""
        return Service(name=name, folder=self.folder)

    def start(self, plane: ControlPlane) -> None:
        """Start the programs that do not run yet and return once the node takes pods."""
        programs, ports, env = binaries.ensure("kube-proxy", "coredns"), self._ports(), _environment()
        kubelet = self._start_kubelet(plane)
        proxy = self.folder / "kube-proxy.json"
        write(proxy, json.dumps(self.proxy_configuration(plane, ports), indent=1))
        self.service("kube-proxy").start([str(programs["kube-proxy"]), f"--config={proxy}"], env=env)
        corefile = self.folder / "Corefile"
        write(corefile, self.corefile(component_kubeconfig(plane, "coredns", _MASTERS)))
        self.service("coredns").start([str(programs["coredns"]), "-conf", str(corefile)], env=env)
        kubelet.wait_ready(lambda: self.ready(plane), timeout_seconds=90)
        self._offer_gpus(plane)
        self.service("coredns").wait_ready(lambda: accepts(self.network.node_address, 53))

    def join(self, plane: ControlPlane) -> None:
        """Start the kubelet alone, as one more node of this machine, and return once it takes pods.

        On the runtime of another node it removes that one's pods: for a node that takes the place of one that was lost.
        """
        self._start_kubelet(plane).wait_ready(lambda: self.ready(plane), timeout_seconds=90)

    def _start_kubelet(self, plane: ControlPlane) -> Service:
        program = binaries.ensure("kubelet")["kubelet"]
        write(self.folder / "resolv.conf", "")
        configuration = self.folder / "kubelet.json"
        write(configuration, json.dumps(self.kubelet_configuration(plane, self._ports()), indent=1))
        user = component_kubeconfig(plane, f"node:{self.name}", ("system:nodes",))
        kubelet = self.service("kubelet")
        kubelet.start([
            str(program), f"--config={configuration}", f"--kubeconfig={user}",
            f"--root-dir={self.folder / 'kubelet'}", f"--hostname-override={self.name}",
            f"--node-ip={self.network.node_address}", f"--cert-dir={self.folder / 'kubelet-pki'}",
        ], env=_environment())  # fmt: skip
        return kubelet

    def stop(self) -> None:
        """Stop the node's programs; its pods are containerd's to remove."""
        for name in ("kubelet", "kube-proxy", "coredns"):
            self.service(name).stop()

    def ready(self, plane: ControlPlane) -> bool:
        """Return whether the node takes pods."""
        try:
            found = plane.api.request("GET", f"/api/v1/nodes/{self.name}")
        except OSError:
            return False
        conditions = found["status"].get("conditions", [])
        tainted = any(taint["effect"] != "PreferNoSchedule" for taint in found["spec"].get("taints", []))
        return not tainted and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def kubelet_configuration(self, plane: ControlPlane, ports: dict[str, int]) -> dict[str, Any]:
        """Return the kubelet's configuration: all below the cluster's folder, nothing evicted."""
        address = self.network.node_address
        serving = plane.authority.issue("kubelet-serving", user=f"system:node:{self.name}", hosts=(address, self.name))
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(plane.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "clusterDNS": [address],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "failCgroupV1": False,
            "failSwapOn": False,
            "healthzPort": ports["kubelet-health"],
            # Never: the images came here without a registry and could not be pulled again.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "makeIPTablesUtilChains": False,
            "maxPods": 250,
            "nodeStatusUpdateFrequency": "10s",
            "oomScoreAdj": 0,
            "podLogsDir": str(self.folder / "pod-logs"),
            "port": ports["kubelet"],
            "readOnlyPort": 0,
            "registerNode": True,
            "resolvConf": str(self.folder / "resolv.conf"),
            "serializeImagePulls": False,
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "volumePluginDir": str(self.folder / "volume-plugins"),
        }

    def proxy_configuration(self, plane: ControlPlane, ports: dict[str, int]) -> dict[str, Any]:
        """Return kube-proxy's configuration: nftables, and the host's connection-tracking limits left alone."""
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "bindAddress": self.network.node_address,
            "clientConnection": {"kubeconfig": str(component_kubeconfig(plane, "kube-proxy"))},
            "clusterCIDR": self.network.pod_subnet,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "healthzBindAddress": f"127.0.0.1:{ports['proxy-health']}",
            "hostnameOverride": self.name,
            "metricsBindAddress": f"127.0.0.1:{ports['proxy-metrics']}",
            "nftables": {"syncPeriod": "30s", "minSyncPeriod": "0s"},
            "oomScoreAdj": 0,
        }

    def corefile(self, kubeconfig: Path) -> str:
        """Return CoreDNS' configuration: the cluster's names, and a quick no to every other one.

        Nothing is forwarded, so no look-up leaves the machine. Answers live one second: a new pod is found at once.
        """
        address = self.network.node_address
        zones = "cluster.local in-addr.arpa ip6.arpa"
        return (
            f"{zones} {{\n  bind {address}\n  errors\n  kubernetes {zones} {{\n    kubeconfig {kubeconfig}\n"
            "    pods insecure\n    ttl 1\n  }\n}\n"
            f". {{\n  bind {address}\n  template ANY ANY {{\n    rcode NXDOMAIN\n  }}\n}}\n"
        )

    def _offer_gpus(self, plane: ControlPlane) -> None:
        """Give the node GPUs that nobody has: enough to schedule, count and limit by."""
        amount = {"nvidia.com/gpu": str(GPUS)}
        patch = {"status": {"capacity": amount, "allocatable": amount}}
        path = f"/api/v1/nodes/{self.name}/status"
        plane.api.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def _ports(self) -> dict[str, int]:
        path = self.folder / "node-ports.json"
        if not path.exists():
            names = ("kubelet", "kubelet-health", "proxy-health", "proxy-metrics")
            path.write_text(json.dumps(dict(zip(names, free_ports(len(names)), strict=True))))
        ports: dict[str, int] = json.loads(path.read_text())
        return ports


def _environment() -> dict[str, str]:
    """Return the environment of the node's programs: sbin, with nft and mount helpers, is not on every PATH."""
    return {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
