"""What Ganger asks of a cluster; `kube.http` answers it over HTTP, a test by a fake.

Reads hand over raw bytes, because the caller knows which few fields it wants decoded.
Writes are sent once, never repeated behind the caller's back, and pass one door (`kube.gate`).
Every call raises an `ApiError` of `kube.errors`; a write may also raise `Fenced`.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from ganger.api.observed import Metadata
from ganger.kube.resources import Resource

Manifest = Mapping[str, Any] | bytes  # a whole object, with apiVersion and kind


class Cluster(Protocol):
    """The verbs. namespace None means all namespaces, or none for a cluster-scoped resource."""

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_: str = "",
    ) -> bytes:
        """Return one page as JSON, read with no resourceVersion, so that it is never older than the call.

        limit: objects in a page, 0 for all. Raises Gone when the continue token is too old.
        """
        ...

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        timeout_seconds: int,
    ) -> AsyncIterator[bytes]:
        """Yield JSON lines, bookmarks among them, until the server ends the stream.

        A last line without its end is yielded as it is: the caller must find out whether it is whole.
        No time-out of its own between lines: that is the caller's. Raises Gone when the version is too old.
        """
        ...

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """Return one object as JSON. Raises NotFound."""
        ...

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Metadata:
        """Create an object under strict field validation. Raises AlreadyExists, Invalid, Forbidden."""
        ...

    async def rehearse(self, resource: Resource, namespace: str | None, manifest: Manifest) -> bytes:
        """Return what a create would store, as JSON; nothing is stored. Raises as `create` does."""
        ...

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        manifest: Manifest,
        *,
        force: bool = True,
        subresource: str = "",
    ) -> Metadata:
        """Server-side apply as field manager `ganger`.

        A manifest that carries metadata.resourceVersion is applied to that version only, else Conflict.
        """
        ...

    async def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, *, subresource: str = ""
    ) -> Metadata:
        """Replace an object; with metadata.resourceVersion only if it is still that version, else Conflict."""
        ...

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Manifest, *, subresource: str = ""
    ) -> Metadata:
        """Merge a JSON merge patch; with metadata.resourceVersion only into that version, else Conflict."""
        ...

    async def patch_status(self, resource: Resource, namespace: str | None, name: str, patch: Manifest) -> Metadata:
        """Merge a JSON merge patch into the status subresource."""
        ...

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> Metadata:
        """Delete the object of that UID in the background; its Metadata is empty where the server sends none.

        Raises NotFound when it is gone, Conflict when the name belongs to another UID by now.
        """
        ...

    async def review(self, resource: Resource, spec: Mapping[str, Any]) -> bytes:
        """Ask a question that is put as an object, such as a TokenReview, and return the answered object as JSON.

        Nothing is stored, so a process that does not lead may ask too.
        """
        ...

    async def discover(self, group: str) -> dict[str, frozenset[str]]:
        """Return the plurals served by each version of a group; {} when the group is not served."""
        ...

    async def version(self) -> tuple[int, int]:
        """Return major and minor number of the API server; (0, 0) where it names none."""
        ...

    def server_offset_seconds(self) -> float:
        """Return the server's clock minus ours, from the Date header of the answers; 0.0 before the first answer."""
        ...
