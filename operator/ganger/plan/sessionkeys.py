"""The public keys that may log in to a session: an annotation of its pod, which the kubelet projects as a file. Pure.

They are the one part of the spec that changes in a pod that runs: whoever is taken out of it gets in no more.
"""

from msgspec import Struct

from ganger.api.observed import Metadata, Pod
from ganger.api.session import DevSession
from ganger.api.validate import check_session
from ganger.contract import ANNOTATION_AUTHORIZED_KEYS
from ganger.plan.profile import MISFITS_TOLD
from ganger.plan.seen import Refusal


class KeyChange(Struct, frozen=True, kw_only=True):
    """The pod whose keys change, and the whole annotation that it gets."""

    pod: Metadata
    keys: str


def annotation(session: DevSession) -> str:
    """Return the keys as sshd reads them, one line each; "" where nobody may log in."""
    return "".join(f"{key}\n" for key in session.spec.ssh.authorized_keys) if session.spec.ssh is not None else ""


def change(session: DevSession, pod: Pod, refusal: Refusal | None) -> tuple[KeyChange | None, str]:
    """Return what is to change in a pod that is there, or why that has to wait; None and "" where nothing is.

    A pod that was made without SSH has no server that would ask for keys. refusal: of such a change, while it is fresh.
    """
    present, wanted = pod.metadata.annotations.get(ANNOTATION_AUTHORIZED_KEYS), annotation(session)
    if present is None or present == wanted or pod.metadata.deletion_timestamp is not None:
        return None, ""
    wrong = [str(error) for error in check_session(session)][:MISFITS_TOLD]
    wrong += [refusal.message] if refusal is not None else []
    return (None, "; ".join(wrong)) if wrong else (KeyChange(pod=pod.metadata, keys=wanted), "")
