"""A control plane on loopback: etcd, API server, controller manager, scheduler, and kwok on request.

Integration tests and benches use it as it is; the embedded cluster adds a node to it.
Whatever counts requests reads the audit log: level Metadata, one line for each finished request, in a file of its own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganger_dev import binaries, kubeconfig
from ganger_dev import kwok as simulator
from ganger_dev.errors import DevError
from ganger_dev.kubeconfig import Api
from ganger_dev.paths import write
from ganger_dev.pki import Authority, Pair
from ganger_dev.processes import Service, free_ports

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
# Names that a request can be made under, so that the audit log tells who did what. All may do everything.
USERS = ("admin", "bench", "ganger", "ganger-standby", "peer", "peer-standby", "test", "viewer")
_MASTERS = ("system:masters",)
_STARTED_LAST = ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """A running control plane, all of it below `folder`."""

    folder: Path
    url: str

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def ca(self) -> Path:
        """Return the certificate of the cluster's authority."""
        return self.authority.own.certificate

    @property
    def authority(self) -> Authority:
        """Return the authority that signs for this cluster."""
        return Authority.load(self.folder / "pki")

    @property
    def audit_log(self) -> Path:
        """Return the audit log: JSON lines, one for each finished request."""
        return self.folder / "audit.log"

    @property
    def api(self) -> Api:
        """Return the administrator's way to the API server."""
        return Api(url=self.url, ca=self.ca, user=self.authority.issue("admin", user="admin", groups=_MASTERS))

    def token_for(self, user: str) -> str:
        """Return the bearer token of one of USERS (or of the extra users given at start)."""
        tokens = _tokens(self.folder)
        if user not in tokens:
            raise DevError(
                f"no token for {user}", f"known users are {', '.join(tokens)}", "Pass it in `users` at start."
            )
        return tokens[user]

    def kubeconfig_for(self, user: str) -> Path:
        """Return a kubeconfig that carries the token of `user`."""
        path = self.folder / f"kubeconfig-{user}"
        return kubeconfig.write(path, name="ganger", url=self.url, ca=self.ca, token=self.token_for(user))

    def running(self) -> dict[str, int]:
        """Return the pids of the programs that run, by name."""
        pids = {name: Service(name=name, folder=self.folder).pid() for name in _STARTED_LAST}
        return {name: pid for name, pid in pids.items() if pid is not None}

    def add_kwok_nodes(self, count: int, *, gpus: int = 8, cpu: int = 32, memory: str = "256Gi") -> None:
        """Create `count` nodes that kwok simulates, each with `gpus` GPUs."""
        for index in range(count):
            self.api.request("POST", "/api/v1/nodes", simulator.node(index, gpus=gpus, cpu=cpu, memory=memory))

    def stop(self) -> None:
        """Stop every program of this control plane; the folder stays, for its logs."""
        for name in _STARTED_LAST:
            Service(name=name, folder=self.folder).stop()


def start_control_plane(
    folder: Path, *, kwok: bool = False, audit: bool = True, gang: bool = True, address: str = "127.0.0.1",
    users: Sequence[str] = (), tied: bool = True, kwok_lease_seconds: int = 40, manager_settings: Sequence[str] = (),
) -> ControlPlane:  # fmt: skip
    """Start a control plane in `folder` and return it once it is ready; a running one is returned as it is.

    kwok: simulate nodes (add them with `add_kwok_nodes`). gang: serve PodGroups and schedule gangs natively.
    address: where the API server listens; pods need the node's address, everybody else loopback.
    tied: all of it dies with the calling process. kwok_lease_seconds: of each simulated node; each renews it four times
    in that time, which is most of what a thousand nodes cost. manager_settings: flags of the controller manager that
    win over those that are set here; to change them end it first, as what runs is left as it is.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    needed = [
        "etcd",
        "kube-apiserver",
        "kubectl",
        "kube-controller-manager",
        "kube-scheduler",
        *(["kwok"] if kwok else []),
    ]
    programs = binaries.ensure(*needed)
    ports = _ports(folder)
    plane = ControlPlane(folder=folder, url=f"https://{address}:{ports['apiserver']}")
    _write_tokens(folder, (*USERS, *users))
    write(folder / "audit-policy.yaml", _AUDIT_POLICY)

    etcd = Service(name="etcd", folder=folder)
    etcd.start([str(programs["etcd"]), *etcd_flags(folder, ports)], tied=tied)
    server = Service(name="kube-apiserver", folder=folder)
    flags = apiserver_flags(plane, ports, address=address, audit=audit, gang=gang)
    server.start([str(programs["kube-apiserver"]), *flags], tied=tied)
    admin = plane.authority.issue("admin", user="admin", groups=_MASTERS)
    kubeconfig.write(plane.kubeconfig, name="ganger", url=plane.url, ca=plane.ca, user=admin)
    server.wait_ready(plane.api.ready)

    manager = Service(name="kube-controller-manager", folder=folder)
    manager.start(
        [
            str(programs["kube-controller-manager"]),
            *manager_flags(plane, ports, kwok=kwok, gang=gang),
            *manager_settings,
        ],
        tied=tied,
    )
    scheduler = Service(name="kube-scheduler", folder=folder)
    scheduler.start([str(programs["kube-scheduler"]), *scheduler_flags(plane, ports, gang=gang)], tied=tied)
    if kwok:
        _start_kwok(plane, programs["kwok"], ports, tied=tied, lease_seconds=kwok_lease_seconds)
    # Pods are refused until the controller manager has made the namespace's service account.
    manager.wait_ready(lambda: _has_service_account(plane.api))
    return plane


def attach(folder: Path) -> ControlPlane | None:
    """Return the control plane that lives in `folder`, whether or not it runs now, or None."""
    path = folder.resolve() / "kubeconfig"
    if not path.exists():
        return None
    line = next(line for line in path.read_text().splitlines() if "server:" in line)
    return ControlPlane(folder=folder.resolve(), url=line.split("server:")[1].strip())


def etcd_flags(folder: Path, ports: dict[str, int]) -> list[str]:
    """Return etcd's flags: loopback, and no fsync, since nothing here must outlive a power cut."""
    client, peer = f"http://127.0.0.1:{ports['etcd']}", f"http://127.0.0.1:{ports['etcd-peer']}"
    return [
        f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
    ]  # fmt: skip


def apiserver_flags(plane: ControlPlane, ports: dict[str, int], *, address: str, audit: bool, gang: bool) -> list[str]:
    """Return the API server's flags."""
    authority, keys = plane.authority, plane.authority.service_account_keys()
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local")  # fmt: skip
    hosts = (*dict.fromkeys(("127.0.0.1", address, SERVICE_ADDRESS)), *names)
    serving = authority.issue("apiserver", user="kube-apiserver", hosts=hosts)
    kubelet = authority.issue("apiserver-kubelet", user="kube-apiserver-kubelet-client", groups=_MASTERS)
    proxy = authority.issue("front-proxy", user="front-proxy-client")
    flags = [
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}", f"--bind-address={address}",
        f"--secure-port={ports['apiserver']}", f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        f"--client-ca-file={plane.ca}", f"--token-auth-file={plane.folder / 'tokens.csv'}",
        f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
        f"--service-account-key-file={keys.certificate}", f"--service-account-signing-key-file={keys.key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--api-audiences=https://kubernetes.default.svc.cluster.local",
        f"--kubelet-client-certificate={kubelet.certificate}", f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={plane.ca}", "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={plane.ca}", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={proxy.certificate}", f"--proxy-client-key-file={proxy.key}",
    ]  # fmt: skip
    # A loopback address is no endpoint of a Service: without a node there is nobody to reach it either.
    flags += ["--endpoint-reconciler-type=none"] if address.startswith("127.") else [f"--advertise-address={address}"]
    if audit:
        flags += [f"--audit-log-path={plane.audit_log}", f"--audit-policy-file={plane.folder / 'audit-policy.yaml'}"]
    if gang:
        flags += ["--feature-gates=GenericWorkload=true", "--runtime-config=scheduling.k8s.io/v1beta1=true"]
    return flags


def manager_flags(plane: ControlPlane, ports: dict[str, int], *, kwok: bool, gang: bool) -> list[str]:
    """Return the controller manager's flags."""
    name = "kube-controller-manager"
    flags = [
        f"--kubeconfig={component_kubeconfig(plane, name)}", "--bind-address=127.0.0.1",
        f"--secure-port={ports['manager']}", "--leader-elect=false", "--use-service-account-credentials=true",
        f"--service-account-private-key-file={plane.authority.service_account_keys().key}",
        f"--root-ca-file={plane.ca}", "--controllers=*,-node-ipam-controller",
        f"--cluster-signing-cert-file={plane.ca}", f"--cluster-signing-key-file={plane.authority.own.key}",
        "--kube-api-qps=500", "--kube-api-burst=1000",
    ]  # fmt: skip
    if kwok:
        # A simulated node's heartbeats may be late on a busy machine; that must not evict its pods.
        flags.append("--node-monitor-grace-period=24h")
    return flags + (["--feature-gates=GenericWorkload=true"] if gang else [])


def scheduler_flags(plane: ControlPlane, ports: dict[str, int], *, gang: bool) -> list[str]:
    """Return the scheduler's flags, and write the configuration that they name."""
    config = plane.folder / "scheduler.yaml"
    content = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(component_kubeconfig(plane, "kube-scheduler")), "qps": 1000, "burst": 2000,
        },
    }  # fmt: skip
    write(config, json.dumps(content))  # JSON is YAML
    flags = [f"--config={config}", "--bind-address=127.0.0.1", f"--secure-port={ports['scheduler']}"]
    return flags + (["--feature-gates=GenericWorkload=true"] if gang else [])


def component_kubeconfig(plane: ControlPlane, name: str, groups: tuple[str, ...] = ()) -> Path:
    """Write and return the kubeconfig of a component that is known as `system:NAME`."""
    pair: Pair = plane.authority.issue(name, user=f"system:{name}", groups=groups)
    path = plane.folder / f"{name}.kubeconfig"
    return kubeconfig.write(path, name="ganger", url=plane.url, ca=plane.ca, user=pair)


def _start_kwok(plane: ControlPlane, program: Path, ports: dict[str, int], *, tied: bool, lease_seconds: int) -> None:
    config = component_kubeconfig(plane, "kwok", _MASTERS)
    flags = simulator.flags(config, simulator.write_stages(plane.folder), ports["kwok"], lease_seconds=lease_seconds)
    Service(name="kwok", folder=plane.folder).start([str(program), *flags], tied=tied)


def _ports(folder: Path) -> dict[str, int]:
    """Return this cluster's ports; they are chosen once, so that a second start finds the first one's programs."""
    path = folder / "ports.json"
    if not path.exists():
        names = ("etcd", "etcd-peer", "apiserver", "manager", "scheduler", "kwok")
        path.write_text(json.dumps(dict(zip(names, free_ports(len(names)), strict=True))))
    ports: dict[str, int] = json.loads(path.read_text())
    return ports


def _tokens(folder: Path) -> dict[str, str]:
    path = folder / "tokens.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()] if path.exists() else []
    return {row[1]: row[0] for row in rows}


def _write_tokens(folder: Path, users: Sequence[str]) -> None:
    tokens = _tokens(folder)
    for user in users:
        tokens.setdefault(user, secrets.token_urlsafe(24))
    rows = "".join(f"{token},{user},{user},system:masters\n" for user, token in tokens.items())
    write(folder / "tokens.csv", rows, mode=0o600)


def _has_service_account(api: Api) -> bool:
    try:
        api.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
    except OSError:
        return False
    return True


_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""
