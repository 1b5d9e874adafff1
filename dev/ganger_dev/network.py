"""The node's network: one bridge that carries the node's address, and point-to-point links to the pods.

Every pod hangs on a link of its own and all its traffic is routed by the host. On a shared bridge a reply from one pod
to another would go past the host's connection tracking, and a ClusterIP would answer from the wrong address.
No packet is masqueraded: the cluster reaches the host and itself, nothing else.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev.errors import DevError
from ganger_dev.paths import write

CNI_PROGRAMS = Path("/usr/lib/cni")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FIRST, _LAST = 200, 250
# kube-proxy's own tables; deleting them is what its --cleanup does.
_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


@dataclass(frozen=True, kw_only=True)
class Network:
    """The addresses of one cluster. bridge: the link's name. number: what tells its subnets from another cluster's."""

    bridge: str
    number: int
    forwarding_before: str = "1"

    @property
    def node_address(self) -> str:
        """Return the address of the node: the kubelet, the API server and the cluster's DNS answer there."""
        return f"10.245.{self.number}.1"

    @property
    def pod_subnet(self) -> str:
        """Return the subnet that pods get their addresses from."""
        return f"10.244.{self.number}.0/24"


def choose(name: str, routes: Iterable[str]) -> Network:
    """Return a network for cluster `name` that overlaps none of the machine's `routes`. Pure."""
    taken = [ipaddress.ip_network(route) for route in routes]
    bridge = f"ganger-{zlib.crc32(name.encode()):08x}"  # a link name has at most 15 characters
    for number in range(_FIRST, _LAST):
        network = Network(bridge=bridge, number=number)
        wanted = [ipaddress.ip_network(text) for text in (f"10.245.{number}.0/24", network.pod_subnet)]
        if not any(one.overlaps(other) for one in wanted for other in taken):
            return network
    raise DevError(
        "no subnet is free for the embedded cluster",
        f"this machine routes all of 10.244.{_FIRST}.0/24 to 10.245.{_LAST}.0/24",
        "Remove a route.",
    )


def up(name: str, folder: Path) -> Network:
    """Set the cluster's network up and return it; what is there already stays as it is."""
    path = folder / "network.json"
    network = of(folder)
    if network is None:
        network = choose(name, _routes())
        network = Network(
            bridge=network.bridge, number=network.number, forwarding_before=_FORWARDING.read_text().strip()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"bridge": network.bridge, "number": network.number, "forwarding_before": network.forwarding_before}
        path.write_text(json.dumps(content))
    if not _ip_json("link", "show", "dev", network.bridge):
        _run("ip", "link", "add", network.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{network.node_address}/24", "dev", network.bridge)
        _run("ip", "link", "set", network.bridge, "up")
    _FORWARDING.write_text("1")
    configuration = folder / "cni" / "10-ganger.conflist"
    write(configuration, json.dumps(cni(network, folder / "cni-addresses"), indent=1))
    return network


def of(folder: Path) -> Network | None:
    """Return the network of the cluster in `folder`, or None where none was set up."""
    path = folder / "network.json"
    return Network(**json.loads(path.read_text())) if path.exists() else None


def down(folder: Path) -> None:
    """Remove the links and tables of the cluster in `folder`, and give forwarding its earlier value back."""
    network = of(folder)
    if network is None:
        return
    subprocess.run(["ip", "link", "delete", network.bridge], capture_output=True)
    for family, table in _TABLES:
        subprocess.run(["nft", "delete", "table", family, table], capture_output=True)
    _FORWARDING.write_text(network.forwarding_before)
    (folder / "network.json").unlink()


def cni(network: Network, addresses: Path) -> dict[str, Any]:
    """Return the CNI configuration of the cluster's pods. Pure."""
    ipam = {
        "type": "host-local",
        "dataDir": str(addresses),
        "ranges": [[{"subnet": network.pod_subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "1.0.0", "name": network.bridge, "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _routes() -> list[str]:
    found = [entry["dst"] for entry in _ip_json("route", "show", "table", "main")]
    return [route for route in found if route != "default"]


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    result = subprocess.run(["ip", "-json", "-4", *arguments], capture_output=True, text=True)
    content: list[dict[str, Any]] = json.loads(result.stdout or "[]") if result.returncode == 0 else []
    return content


def _run(*command: str) -> None:
    words: Sequence[str] = command
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode != 0:
        raise DevError(f"`{' '.join(command)}` failed", result.stderr.strip(), "The embedded cluster needs NET_ADMIN.")
