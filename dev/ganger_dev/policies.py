"""NetworkPolicies enforced on the embedded cluster: each new connection to a pod waits for the word of a daemon.

kube-network-policies decides in user space, by what the API server says of policies and pods. It hands itself the
packets by nftables' `queue`, which not every kernel has; iptables' NFQUEUE is older, so a rule of ours hands them over
here. Where both are there a packet is asked about twice. Without the daemon nothing new gets through: it fails closed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ganger_dev import binaries, network, system
from ganger_dev.control_plane import ControlPlane
from ganger_dev.paths import write
from ganger_dev.processes import Service, free_ports

NAME: Final = "kube-network-policies"
QUEUE: Final = 24625
_CHAIN: Final = "GANGER-POLICIES"
_PATH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
# The daemon knows the API server as a pod does, by files at a fixed path: it gets a /run of its own, with these in it.
_AS_A_POD: Final = """\
set -e
run=$(readlink -f /var/run)
credentials=$(mktemp -d)
cp "$1"/token "$1"/ca.crt "$credentials"
mount -t tmpfs -o mode=0700 tmpfs "$run"
mkdir -p "$run/secrets/kubernetes.io"
mv "$credentials" "$run/secrets/kubernetes.io/serviceaccount"
shift
exec "$@"
"""


def trouble() -> str:
    """Return why this machine cannot enforce policies, "" where it can. Tried in a network namespace that ends here."""
    if os.geteuid() != 0:
        return "NetworkPolicies are enforced by root alone"
    system.ensure_packages("iptables", "nftables")
    result = _run("unshare", "--net", "iptables", "-w", "-t", "mangle", "-A", "FORWARD", *_handing_over("10.0.0.0/8"))
    if result.returncode == 0:
        return ""
    return f"this kernel hands no packets to user space (NFQUEUE): {result.stderr.strip()}"


@contextmanager
def enforced(folder: Path, plane: ControlPlane, node_name: str) -> Iterator[Service]:
    """Enforce the policies of the embedded cluster in `folder` within the block; its value is the daemon.

    Raises DevError where the daemon does not start.
    """
    pods = network.of(folder)
    assert pods is not None, "a cluster that runs has a network"
    program = binaries.ensure(NAME)[NAME]
    credentials = folder / NAME
    credentials.mkdir(mode=0o700, exist_ok=True)
    write(credentials / "token", plane.token_for("viewer"), mode=0o600)
    write(credentials / "ca.crt", plane.ca.read_text())
    server = urlsplit(plane.url)
    (port,) = free_ports(1)
    daemon = Service(name=NAME, folder=folder)
    command = ["unshare", "--mount", "sh", "-c", _AS_A_POD, "sh", str(credentials), str(program)]
    command += [f"--nfqueue-id={QUEUE}", f"--hostname-override={node_name}"]
    command += [f"--metrics-bind-address=127.0.0.1:{port}", "--v=2"]
    address = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
    try:
        daemon.start(command, env=address)
        daemon.wait_ready(_is_heard)
        rule = _handing_over(pods.pod_subnet)
        for words in (("-N", _CHAIN), ("-A", _CHAIN, *rule), ("-I", "FORWARD", "-j", _CHAIN)):
            _iptables(*words).check_returncode()
        yield daemon
    finally:
        clear(folder)


def clear(folder: Path) -> None:
    """Enforce nothing any more: no rule, no daemon and no table is left."""
    for words in (("-D", "FORWARD", "-j", _CHAIN), ("-F", _CHAIN), ("-X", _CHAIN)):
        _iptables(*words)
    if not [line for line in _iptables("-S").stdout.splitlines() if not line.startswith("-P ")]:
        _run("nft", "delete", "table", "ip", "mangle")  # iptables makes it for its first rule, and leaves it
    Service(name=NAME, folder=folder).stop()
    _run("nft", "delete", "table", "inet", NAME)


def _handing_over(pods: str) -> list[str]:
    """The first packet of what goes to a pod waits for a verdict; what belongs to it passes by itself."""
    return ["-d", pods, "-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", str(QUEUE)]


def _is_heard() -> bool:
    """Whether somebody listens at the queue: the daemon does once it knows all policies and pods."""
    listeners = Path("/proc/net/netfilter/nfnetlink_queue")
    return listeners.exists() and any(line.split()[0] == str(QUEUE) for line in listeners.read_text().splitlines())


def _iptables(*words: str) -> subprocess.CompletedProcess[str]:
    return _run("iptables", "-w", "-t", "mangle", *words)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": _PATH})
