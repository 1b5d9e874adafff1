"""A small synchronous API client for tests: an oracle that shares no code with the product.

Also the recorder of the whole watch history of a namespace, whose every event is checked against the invariants.
"""

import contextlib
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from chaos import tally
from chaos.invariants import Event, violations

JOBS = "/apis/ganger.dev/v1alpha1/namespaces/{namespace}/trainingjobs"
PODS = "/api/v1/namespaces/{namespace}/pods"


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


class History:
    """Every watch event of the jobs and pods of a namespace, from threads of its own; `close` ends them.

    What is there already is known first. `check` gives what breaks an invariant (chaos.invariants) at any event.
    """

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.events: list[Event] = []
        self._known: list[dict[str, Any]] = []
        self._replies: list[Any] = []
        self._api = api
        for path in (JOBS.format(namespace=namespace), PODS.format(namespace=namespace)):
            self.follow(path)

    def follow(self, path: str) -> bool:
        """Watch what is at the path as well; False where it is not served, as TrainingJobs before their definition."""
        listed = self._api.get(path)
        if listed is None:
            return False
        kind = listed["kind"].removesuffix("List")
        self._known += [item | {"kind": kind} for item in listed["items"]]
        version = listed["metadata"]["resourceVersion"]
        reply = self._api.open("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=3000", timeout=3000)
        self._replies.append(reply)
        threading.Thread(target=self._read, args=(reply,), daemon=True).start()
        return True

    def _read(self, reply: Any) -> None:
        try:
            for line in reply:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    self.events.append((event["type"], event["object"]))
        except (OSError, ValueError, AttributeError):
            return  # closed

    def created(self) -> list[str]:
        """Names of the pods in the order of their creation; a name twice is a pod that was made twice."""
        return [obj["metadata"]["name"] for kind, obj in list(self.events) if kind == "ADDED" and obj["kind"] == "Pod"]

    def check(self) -> list[str]:
        """What broke an invariant, [] where nothing did."""
        return violations(list(self.events), known=self._known)

    def close(self) -> None:
        """Hear nothing any more, and count what was heard in the summary of the session."""
        for reply in self._replies:
            with contextlib.suppress(OSError, AttributeError):
                reply.fp.raw._sock.shutdown(socket.SHUT_RDWR)
        tally.add("a real API server", len(self.events))
