"""The one error that reaches the person at the keyboard: what happened, why, and what to do next."""

from __future__ import annotations


class DevError(Exception):
    """A failure that the person can act on; its text is one line of what, why and fix.

    what: the thing that did not work. why: the cause, as far as it is known. fix: what to do next.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(f"{what}: {why}. {fix}")


WITHOUT_A_CLUSTER = (
    "Use a cluster you already have (kind, k3d, minikube: `make images`, load the archive as images/README.md says), "
    "or run the job as local processes with `ganger run job.yaml`."
)
