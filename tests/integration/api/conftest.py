"""Jobs against the API server itself: no operator runs here, so nothing but the definition judges."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from apiclient import JOBS, ApiClient, wait_for


@dataclass(frozen=True)
class Answer:
    """What the server said: the HTTP code, the message of a refusal, the object of an acceptance."""

    code: int
    message: str
    object: Any = None

    @property
    def accepted(self) -> bool:
        """Whether the request was done."""
        return self.code < 300


class Server:
    """The jobs of one namespace. A dry run goes the whole way but to etcd, so one namespace does for many tests."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.api = api
        self.jobs = JOBS.format(namespace=namespace)

    def ask(self, method: str, path: str, body: Any, content_type: str = "application/json") -> Answer:
        """Send a request under strict validation; a text goes as it is, so that the server reads the YAML itself."""
        strict = "&fieldValidation=Strict" if "?" in path else "?fieldValidation=Strict"
        url = f"{self.api.url}{path}{strict}"
        headers = {"Authorization": f"Bearer {self.api._token}", "Content-Type": content_type}
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, context=self.api._tls, timeout=30) as reply:
                return Answer(reply.status, "", json.loads(reply.read()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read())["message"])

    def try_(self, manifest: dict[str, Any]) -> Answer:
        """What the server would say to this manifest."""
        return self.ask("POST", f"{self.jobs}?dryRun=All", manifest)

    def try_text(self, text: str, plural: str = "trainingjobs") -> Answer:
        """What the server would say to this file."""
        return self.ask("POST", f"{self.jobs.rpartition('/')[0]}/{plural}?dryRun=All", text, "application/yaml")

    def create(self, manifest: dict[str, Any]) -> Answer:
        """Store a job."""
        return self.ask("POST", self.jobs, manifest)

    def try_change(self, name: str, **spec: Any) -> Answer:
        """What the server would say to a merge patch of the spec."""
        path = f"{self.jobs}/{name}?dryRun=All"
        return self.ask("PATCH", path, {"spec": spec}, "application/merge-patch+json")


@pytest.fixture(scope="session")
def api(control_plane, crd):
    """The administrator's client, once the jobs are served."""
    client = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))

    def served():
        try:
            return client.get("/apis/ganger.dev/v1alpha1/trainingjobs")
        except urllib.error.HTTPError as error:
            if error.code != 429:  # "storage is (re)initializing", for a second after it is established
                raise
            return None

    wait_for(served, 30, "the jobs are served")
    return client


@pytest.fixture(scope="session")
def server(api):
    """A namespace for all tests that store nothing, or something under a name of their own."""
    name = "api-tests"
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return Server(api, name)
