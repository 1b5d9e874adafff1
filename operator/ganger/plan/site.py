"""What a decision needs to know of the cluster and of the operator itself."""

from typing import Any

from msgspec import Struct

from ganger import contract

VOLUME = "ganger-control"


class Site(Struct, frozen=True, kw_only=True):
    """Where workers report. control_url "" means nowhere: an operator without a control channel, or none at all.

    control_url: https://host:port, without a path. authority: PEM of the authority that its certificate is of.
    restarts_containers: whether the cluster starts the containers of a pod anew by rule (Kubernetes 1.36).
    pod_groups: version of scheduling.k8s.io that serves PodGroups, "" where none does.
    priority_boost: the most that is added to a gang's priority in Kueue for work it would lose, 0 for never.
    isolates: whether each job gets a NetworkPolicy that keeps everybody else away from its workers.
    image: the operator's default image, "" where nobody knows.
    """

    control_url: str = ""
    authority: str = ""
    restarts_containers: bool = False
    pod_groups: str = ""
    priority_boost: int = 0
    isolates: bool = False
    image: str = ""

    @property
    def listens(self) -> bool:
        """Whether workers can report."""
        return bool(self.control_url and self.authority)


NOWHERE = Site()


def environment(site: Site, job_uid: str) -> dict[str, str]:
    """Return what a worker reads to find the channel, Hugging Face's callback included (contract.ENV_HF_URL)."""
    if not site.listens:
        return {}
    url = f"{site.control_url}/v1/jobs/{job_uid}"
    token, authority = f"{contract.CONTROL_MOUNT}/token", f"{contract.CONTROL_MOUNT}/ca.crt"
    return {
        contract.ENV_CONTROL_URL: url,
        contract.ENV_CONTROL_TOKEN: token,
        contract.ENV_CONTROL_CA: authority,
        contract.ENV_HF_URL: f"{url}/progress",
        contract.ENV_HF_TOKEN: token,
        contract.ENV_HF_CA: authority,
    }


def volume(job_uid: str) -> dict[str, Any]:
    """Return the volume with a token for this job alone and the authority, which the kubelet keeps fresh."""
    token = {
        "audience": job_uid,
        "expirationSeconds": contract.CONTROL_TOKEN_SECONDS,
        "path": "token",
    }
    annotation = {"fieldPath": f"metadata.annotations['{contract.ANNOTATION_CONTROL_CA}']"}
    return {
        "name": VOLUME,
        "projected": {
            "sources": [
                {"serviceAccountToken": token},
                {"downwardAPI": {"items": [{"path": "ca.crt", "fieldRef": annotation}]}},
            ]
        },
    }


def mount() -> dict[str, Any]:
    """Return where the worker finds that volume."""
    return {"name": VOLUME, "mountPath": contract.CONTROL_MOUNT, "readOnly": True}
