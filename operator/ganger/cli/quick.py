"""Names of objects for a shell that waits: one request over the standard library alone.

Loading the client library and an event loop takes most of the time that a person sees between the tab key and an
answer. A kubeconfig that needs them (plug-ins, OIDC, several files, a proxy) is left to whoever has them.
"""

import http.client
import json
import os
from typing import Any
from urllib.parse import urlsplit

from ganger.cli.session import Target
from ganger.contract import API_GROUP, API_VERSION
from ganger.kube.access import default_kubeconfig, impersonation
from ganger.kube.kubeconfig import Kubeconfig, plain

NAMES_MAX = 100
# The metadata of the objects, without what they say.
_ACCEPT = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def names(target: Target, plural: str, *, seconds: float = 2.0) -> list[str] | None:
    """Return at most NAMES_MAX names of namespaces, or of our objects of that plural in the namespace of the target.

    None where the way to the cluster is none that this can go. Raises OSError, ValueError or http.client.HTTPException
    where there is no answer, and PermissionError where it is a refusal.
    """
    asked = target.kubeconfig or target.context or os.environ.get("KUBECONFIG")
    if not asked and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return None  # a pod
    found = plain(target.kubeconfig or default_kubeconfig(), target.context)
    if found is None or found.proxy:
        return None
    path = "/api/v1/namespaces"
    if plural != "namespaces":
        path = f"/apis/{API_GROUP}/{API_VERSION}/namespaces/{target.namespace or found.namespace}/{plural}"
    return _ask(found, target, f"{path}?limit={NAMES_MAX}", seconds)


def _ask(found: Kubeconfig, target: Target, path: str, seconds: float) -> list[str]:
    parts = urlsplit(found.url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if found.tls is None:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    else:
        connection = _Named(host, port, timeout=seconds, context=found.tls)
        connection.server_name = found.server_name or host
    user, groups = (target.act_as, target.act_as_groups) if target.act_as else (found.act_as, found.act_as_groups)
    try:
        connection.putrequest("GET", parts.path.rstrip("/") + path)
        for name, value in [("Accept", _ACCEPT), ("Authorization", found.authorization), *impersonation(user, groups)]:
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise PermissionError(answer.status, answer.reason)
    listed: Any = json.loads(body)
    return [str(one["metadata"]["name"]) for one in listed["items"]]


class _Named(http.client.HTTPSConnection):
    """A connection whose server is called otherwise than its address, as tls-server-name of a kubeconfig says."""

    server_name = ""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: Any = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.server_name)
