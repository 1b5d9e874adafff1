"""Devices that a worker gets by dynamic resource allocation (resource.k8s.io/v1), in the two forms of a pod. Pure."""

from typing import Any

from ganger.api.workload import DeviceClaim, Resources


def of_pod(resources: Resources) -> list[dict[str, Any]]:
    """Return the claims of the pod: each an existing one, or one made of a template and deleted with the pod."""
    return [{"name": claim.name} | _source(claim) for claim in resources.claims]


def of_container(resources: Resources) -> list[dict[str, Any]]:
    """Return what the container uses of them: all devices of a claim, or those of one request."""
    return [
        {"name": claim.name} | ({} if claim.request is None else {"request": claim.request})
        for claim in resources.claims
    ]


def _source(claim: DeviceClaim) -> dict[str, str]:
    if claim.claim_name is not None:
        return {"resourceClaimName": claim.claim_name}
    assert claim.template_name is not None
    return {"resourceClaimTemplateName": claim.template_name}
