"""Where the leaders are: one EndpointSlice of a Service without selector, written by whoever leads (shard 0).

The Service keeps its name and address; only the endpoints move. https://kubernetes.io/docs/concepts/services-networking/
service/#services-without-selectors
"""

import asyncio
import logging
from collections.abc import Sequence

from ganger.contract import CONTROL_PORT
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError
from ganger.kube.gate import Fenced
from ganger.kube.resources import ENDPOINT_SLICES

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
RETRY_CAP_SECONDS = 60.0


def endpoint_slice(
    namespace: str, service: str, ip: str, pod: str, port: int = CONTROL_PORT, others: Sequence[str] = ()
) -> dict[str, object]:
    """Return the slice that leads to one pod, and to those of other leaders at the addresses `others`. Pure."""
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service,
                # Names the writer, so that Kubernetes' own controllers leave it alone.
                "endpointslice.kubernetes.io/managed-by": "ganger.dev",
            },
        },
        "addressType": "IPv6" if ":" in ip else "IPv4",
        "endpoints": [
            {
                "addresses": [ip],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
            },
            *({"addresses": [other], "conditions": {"ready": True}} for other in others),
        ],
        "ports": [{"name": "control", "port": port, "protocol": "TCP"}],
    }


async def publish(cluster: Cluster, manifest: dict[str, object]) -> None:
    """Write the slice, again and again until the API server takes it. Workers do not wait for it, they try later."""
    meta = manifest["metadata"]
    assert isinstance(meta, dict)
    delay = RETRY_SECONDS
    while True:
        try:
            await cluster.apply(ENDPOINT_SLICES, meta["namespace"], meta["name"], manifest)
        except ApiError as error:
            log.warning("the control channel's endpoint could not be written, next try in %.0f s: %s", delay, error)
            await asyncio.sleep(delay)
            delay = min(RETRY_CAP_SECONDS, delay * 2)
        except Fenced:
            return  # somebody else leads by now, and writes its own
        else:
            return
