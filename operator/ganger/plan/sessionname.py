"""Names and labels of everything that is made for a session, each a function of the session alone."""

from ganger.api.session import DevSession
from ganger.contract import (
    API_GROUP,
    API_VERSION,
    LABEL_MANAGED_BY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    MANAGED_BY,
    SESSION_KIND,
)


def pod(name: str, start: int) -> str:
    """Return the name of the pod of one start, its hostname too; no worker of a job has such a name."""
    return f"{name}-dev-{start}"


def secret(name: str) -> str:
    """Return the name of the Secret with the token."""
    return f"{name}-dev"


def claim(name: str) -> str:
    """Return the name of the claim that is made for the session."""
    return f"{name}-workspace"


def network_policy(name: str) -> str:
    """Return the name of the NetworkPolicy of a session that nobody reaches over the network."""
    return f"{name}-dev"


def labels(session: DevSession) -> dict[str, str]:
    """Return the labels of every object of the session."""
    meta = session.metadata
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_SESSION: meta.name, LABEL_SESSION_UID: meta.uid}


def owner_reference(session: DevSession) -> dict[str, object]:
    """Return the reference that makes the session the controller of an object, so that deletion cascades."""
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": SESSION_KIND,
        "name": session.metadata.name,
        "uid": session.metadata.uid,
        "controller": True,
    }
