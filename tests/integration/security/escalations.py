"""What a pod must not be: each a change of a pod that the operator really makes, and the same wish as a TrainingJob.

`pod` is merged into the pod's spec, `container` into its only container; None takes a field away. `job` is merged into
the spec of a TrainingJob, where the wish can be uttered there at all. `says` is the field that a refusal names.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """One forbidden pod."""

    says: str
    pod: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    volume: dict[str, Any] | None = None
    job: dict[str, Any] | None = None
    by_policy: bool = True  # else the API server itself refuses it, for everybody


def _pod(says: str, **spec: Any) -> Escalation:
    return Escalation(says=says, pod=spec, job={name: value for name, value in spec.items() if value is not None})


def _pod_security(says: str, *, by_policy: bool = True, **context: Any) -> Escalation:
    spec = {"securityContext": context}
    return Escalation(says=says, pod=spec, job=spec, by_policy=by_policy)


def _security(says: str, *, by_policy: bool = True, pod: dict[str, Any] | None = None, **context: Any) -> Escalation:
    container = {"securityContext": context}
    return Escalation(
        says=says,
        pod=pod or {},
        container=container,
        job={"containers": [{"name": "c", **container}]},
        by_policy=by_policy,
    )


def _container(says: str, **changes: Any) -> Escalation:
    return Escalation(says=says, container=changes, job=changes)


def _volume(**source: Any) -> Escalation:
    volume = {"name": "added", **source}
    return Escalation(says="spec.volumes", volume=volume, job={"volumes": [volume]})


def _token(**token: Any) -> Escalation:
    return _volume(projected={"sources": [{"serviceAccountToken": {"path": "token", **token}}]})


_GET = {"httpGet": {"host": "169.254.169.254", "port": 80}}
_ROOT = {"name": "root", "image": "x", "securityContext": {"privileged": True}}
_REFERENCE = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1", "controller": True}

ESCALATIONS: dict[str, Escalation] = {
    "network of the host": _pod("hostNetwork", hostNetwork=True),
    "processes of the host": _pod("hostPID", hostPID=True),
    "memory of the host": _pod("hostIPC", hostIPC=True),
    "a node by name": _pod("nodeName", nodeName="control-plane-0"),
    "API token": _pod("automountServiceAccountToken", automountServiceAccountToken=True),
    "API token by default": Escalation(says="automountServiceAccountToken", pod={"automountServiceAccountToken": None}),
    "priority of a node": _pod("priorityClassName", priorityClassName="system-node-critical"),
    "priority of the cluster": _pod("priorityClassName", priorityClassName="system-cluster-critical"),
    "ephemeral container": Escalation(
        says="ephemeralContainers",
        pod={"ephemeralContainers": [{"name": "e", "image": "x"}]},
        job={"ephemeralContainers": [{"name": "e", "image": "x"}]},
        by_policy=False,
    ),
    "root of the pod": _pod_security("runAsNonRoot", runAsUser=0),
    "root allowed": _pod_security("runAsNonRoot", runAsNonRoot=False),
    "root not excluded": _pod_security("runAsNonRoot", runAsNonRoot=None),
    "seccomp off": _pod_security("seccompProfile", seccompProfile={"type": "Unconfined"}),
    "seccomp of the node": _pod_security(
        "seccompProfile", seccompProfile={"type": "Localhost", "localhostProfile": "mine.json"}
    ),
    "seccomp not said": _pod_security("seccompProfile", seccompProfile=None),
    "kernel parameter": _pod_security("sysctls", sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "safe kernel parameter": _pod_security("sysctls", sysctls=[{"name": "net.ipv4.tcp_syncookies", "value": "0"}]),
    "SELinux type": _pod_security("seLinuxOptions", seLinuxOptions={"type": "spc_t"}),
    "SELinux user": _pod_security("seLinuxOptions", seLinuxOptions={"user": "system_u"}),
    "SELinux role": _pod_security("seLinuxOptions", seLinuxOptions={"role": "system_r"}),
    "AppArmor off": _pod_security("appArmorProfile", appArmorProfile={"type": "Unconfined"}),
    "process of a Windows host": _pod_security(
        "hostProcess", by_policy=False, windowsOptions={"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}
    ),
    "no security context of the pod": Escalation(says="runAsNonRoot", pod={"securityContext": None}),
    "privileged": _security("privileged", privileged=True, allowPrivilegeEscalation=True),
    "escalation": _security("allowPrivilegeEscalation", allowPrivilegeEscalation=True),
    "escalation by default": _security("allowPrivilegeEscalation", allowPrivilegeEscalation=None),
    "privileged without escalation": _security("privileged", privileged=True, by_policy=False),
    "SYS_ADMIN": _security("capabilities", capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "NET_RAW": _security("capabilities", capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
    "low ports": _security("capabilities", capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    "some capabilities kept": _security("capabilities", capabilities={"drop": ["SYS_ADMIN"]}),
    "capabilities by default": _security("capabilities", capabilities=None),
    "whole /proc": _security("procMount", procMount="Unmasked", pod={"hostUsers": False}),
    "root in the container": _security("runAsNonRoot", runAsUser=0),
    "root allowed in the container": _security("runAsNonRoot", runAsNonRoot=False),
    "seccomp off in the container": _security("seccompProfile", seccompProfile={"type": "Unconfined"}),
    "SELinux type of the container": _security("seLinuxOptions", seLinuxOptions={"type": "spc_t"}),
    "AppArmor off in the container": _security("appArmorProfile", appArmorProfile={"type": "Unconfined"}),
    "no security context of the container": Escalation(
        says="allowPrivilegeEscalation", container={"securityContext": None}
    ),
    "port of the host": _container("hostPort", ports=[{"containerPort": 80, "hostPort": 80}]),
    "probe of another host": _container("host must not be set", livenessProbe=_GET),
    "probe of another port": _container(
        "host must not be set", readinessProbe={"tcpSocket": {"host": "10.0.0.1", "port": 22}}
    ),
    "start probe of another host": _container("host must not be set", startupProbe=_GET),
    "hook to another host": _container("host must not be set", lifecycle={"postStart": _GET}),
    "last hook to another host": _container("host must not be set", lifecycle={"preStop": _GET}),
    "privileged init container": _pod("privileged", initContainers=[_ROOT]),
    "bare init container": _pod("allowPrivilegeEscalation", initContainers=[{"name": "i", "image": "x"}]),
    "host path": _volume(hostPath={"path": "/"}),
    "socket of the runtime": _volume(hostPath={"path": "/run/containerd/containerd.sock", "type": "Socket"}),
    "network file system": _volume(nfs={"server": "10.0.0.1", "path": "/"}),
    "iSCSI": _volume(iscsi={"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:x", "lun": 0}),
    "fibre channel": _volume(fc={"targetWWNs": ["50060e801049cfd1"], "lun": 0}),
    "Ceph": _volume(cephfs={"monitors": ["10.0.0.1"]}),
    "storage driver inline": _volume(csi={"driver": "hostpath.csi.example.com"}),
    "flexible driver": _volume(flexVolume={"driver": "example.com/lvm"}),
    "API token by volume": _token(),
    "API token by audience": _token(audience="https://kubernetes.default.svc.cluster.local"),
    "token for somebody else": _token(audience="vault"),
    "token for another job": _token(audience="00000000-0000-0000-0000-000000000000"),
    "foreign owner": Escalation(says="ownerReferences", metadata={"ownerReferences": [_REFERENCE]}),
    "no owner": Escalation(says="ownerReferences", metadata={"ownerReferences": None}),
    "owner of another group": Escalation(
        says="ownerReferences",
        metadata={"ownerReferences": [_REFERENCE | {"apiVersion": "ganger.dev.example.com/v1", "kind": "TrainingJob"}]},
    ),
    "owner that does not control": Escalation(
        says="ownerReferences",
        metadata={
            "ownerReferences": [
                _REFERENCE | {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "controller": False}
            ]
        },
    ),
    "AppArmor off by annotation": Escalation(
        says="appArmorProfile",
        metadata={"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}},
    ),
    "out of the volume": Escalation(
        says="subPath",
        container={"volumeMounts": [{"name": "ganger-tmp", "mountPath": "/x", "subPath": "../../etc"}]},
        job={
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": "data", "mountPath": "/x", "subPath": "../../etc"}],
        },
        by_policy=False,
    ),
}


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The target with the patch in it; None takes a field away."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict) and "type" not in value:
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def escalated(pod: dict[str, Any], change: Escalation) -> dict[str, Any]:
    """The pod with one escalation in it."""
    spec = merged(pod["spec"], change.pod)
    spec["containers"] = [merged(spec["containers"][0], change.container)]
    if change.volume is not None:
        spec["volumes"] = [*spec["volumes"], change.volume]
    return pod | {"metadata": merged(pod["metadata"], change.metadata), "spec": spec}
