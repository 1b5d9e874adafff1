"""A small synchronous API client for tests: an oracle that shares no code with the product.

Also the recorder of the whole watch history of a namespace, and the check of the invariants on every event of it.
"""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

JOBS = "/apis/ganger.dev/v1alpha1/namespaces/{namespace}/trainingjobs"
PODS = "/api/v1/namespaces/{namespace}/pods"
TERMINAL = ("Succeeded", "Failed")


class ApiClient:
    """Requests as one user. Every call raises `urllib.error.HTTPError` with the server's Status as its body."""

    def __init__(self, url: str, ca: str, token: str) -> None:
        self.url = url
        self._token = token
        self._tls = ssl.create_default_context(cafile=ca)

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", timeout: float = 30
    ):
        """Send one request and return the decoded answer."""
        with self.open(method, path, body, content_type, timeout) as reply:
            return json.loads(reply.read() or b"{}")

    def open(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", timeout: float = 30
    ):
        """Send one request and return the open answer, for watches."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", content_type)
        return urllib.request.urlopen(request, context=self._tls, timeout=timeout)

    def get(self, path: str):
        """GET, or None where there is nothing."""
        try:
            return self.call("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def create(self, path: str, body: Any):
        """POST under strict field validation."""
        return self.call("POST", f"{path}?fieldValidation=Strict", body)

    def merge(self, path: str, body: Any):
        """JSON merge patch."""
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str, **options: Any):
        """DELETE with options."""
        return self.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    def items(self, path: str) -> list[Any]:
        """The items of a list."""
        return self.call("GET", path)["items"]


def wait_for(what: Callable[[], Any], timeout: float = 30.0, message: str = "") -> Any:
    """Return the first truthy answer; fail with `message` and the last answer after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {message or what}; last answer {answer!r}")
        time.sleep(0.02)


class PodHistory:
    """Every watch event of the pods of a namespace, in order, from a thread of its own."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        path = PODS.format(namespace=namespace)
        version = api.call("GET", path)["metadata"]["resourceVersion"]
        self._reply = api.open("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=3000", timeout=3000)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._reply:
                event = json.loads(line)
                self.events.append((time.monotonic(), event["type"], event["object"]))
        except (OSError, ValueError, AttributeError):
            return  # closed

    def created(self) -> list[str]:
        """Names of the pods in the order of their creation; a name twice is a pod that was made twice."""
        return [pod["metadata"]["name"] for _, kind, pod in list(self.events) if kind == "ADDED"]

    def duplicates(self) -> list[str]:
        """Moments at which a worker ran twice: INV-1 over the whole history, all attempts together."""
        alive: dict[str, tuple[str, str]] = {}
        found = []
        for _, kind, pod in list(self.events):
            meta = pod["metadata"]
            worker = (meta["labels"].get("ganger.dev/job-uid", ""), meta["labels"].get("ganger.dev/worker", ""))
            if kind == "DELETED" or pod["status"].get("phase") in TERMINAL:
                alive.pop(meta["uid"], None)
                continue
            if worker in {other for uid, other in alive.items() if uid != meta["uid"]}:
                found.append(f"{meta['name']} beside another pod of worker {worker}")
            alive[meta["uid"]] = worker
        return found
