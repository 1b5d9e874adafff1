"""What the person at the keyboard is told when something does not work, and the exit code that says it to scripts.

Every problem is three lines: what, why, what to do. Nothing else of an error reaches the terminal, unless `--debug`
asks.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from ganger.cli.terminal import escape

if TYPE_CHECKING:
    from ganger.kube import errors


INSTALL = "helm install ganger charts/ganger -n ganger-system --create-namespace"
_NAMESPACE_MISSING = re.compile(r'^namespaces "([^"]+)" not found')
_POLICY = ("admission webhook", "ValidatingAdmissionPolicy", "violates PodSecurity")


class Code(IntEnum):
    """Exit codes of every command. `wait` and `run` mirror the job: COMPLETE or FAILED."""

    COMPLETE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    TIMEOUT = 4
    REFUSED = 5  # the cluster says no, or cannot be reached
    INTERRUPTED = 130
    TERMINATED = 143


class Problem(click.ClickException):
    """Something the person can act on. what: the thing that failed. why: the cause. fix: the next step."""

    def __init__(self, what: str, why: str = "", fix: str = "", *, code: Code = Code.FAILED) -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix
        self.code = code

    def __str__(self) -> str:
        """The three parts in one text, for whoever catches it in Python."""
        return "; ".join(part for part in (self.what, self.why, self.fix) if part)

    def lines(self) -> list[str]:
        """Return the text, one line for each part that is known."""
        parts = [("error", self.what), ("  why", self.why), ("  fix", self.fix)]
        return [f"{label}: {text}" for label, text in parts if text]


def missing_library(name: str, extra: str) -> Problem:
    """Return the problem of a command whose libraries belong to an extra that is not installed."""
    return Problem(
        f"this command needs the Python package {name}, which is not installed",
        f"it belongs to the extra '{extra}' of ganger, so that the other commands stay light",
        f"pip install 'ganger[{extra}]'",
        code=Code.USAGE,
    )


def from_usage(error: click.UsageError) -> Problem:
    """Return click's complaint about the command line as a problem with the next step in it."""
    command = error.ctx.command_path if error.ctx is not None else "ganger"
    what = error.format_message().rstrip(".")
    return Problem(what, "", f"'{command} --help' shows how it is called", code=Code.USAGE)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn an API error of the body into a Problem. what: what is being done, as in 'reading job digits'."""
    from ganger.kube import errors

    try:
        yield
    except errors.ApiError as error:
        raise from_api(error, what) from error


def first(error: Exception) -> Exception:
    """Return the first error of a group of tasks, which is told as if it had come alone."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def from_api(error: "errors.ApiError", what: str) -> Problem:
    """Return the problem of an API call that failed. what: what was being done."""
    from ganger.kube import errors

    what, why = f"{what} failed", escape(" ".join((error.message or error.reason).split()))
    if any(word in why for word in _POLICY):
        fix = "change what the policy names, or ask who runs the cluster's policies for an exception"
        return Problem(what, why, fix, code=Code.REFUSED)
    if isinstance(error, errors.NotFound):
        return _not_found(error, what, why)
    if isinstance(error, errors.Unreachable):
        fix = "check that the cluster is up, that --context names the right one, and that it is reachable from here"
        return Problem(what, f"the API server did not answer: {why}", fix, code=Code.REFUSED)
    if isinstance(error, errors.Unauthorized):
        fix = "log in again, or choose other credentials with --kubeconfig or --context"
        return Problem(what, "the API server does not accept these credentials", fix, code=Code.REFUSED)
    if isinstance(error, errors.Forbidden):
        return Problem(what, why, _permission(error), code=Code.REFUSED)
    if isinstance(error, errors.AlreadyExists):
        fix = "choose another name, or --if-exists skip or --if-exists replace"
        return Problem(what, why, fix, code=Code.USAGE)
    if isinstance(error, errors.Invalid):
        fields = [escape(f"{cause.field}: {cause.message}") for cause in error.causes if cause.field]
        fix = "correct the manifest; 'ganger validate FILE' names what can be known without the cluster, with its line"
        return Problem(what, "; ".join(fields) or why, fix, code=Code.USAGE)
    if isinstance(error, errors.Conflict):
        return Problem(what, why, "somebody else changed it meanwhile: run the command again", code=Code.REFUSED)
    return Problem(what, why, "the API server has trouble: try again in a moment", code=Code.REFUSED)


def _not_found(error: "errors.NotFound", what: str, why: str) -> Problem:
    """Tell what is missing: the resource type, the namespace or the object."""
    # A group that is not served is answered by a bare "404 page not found", without a Status.
    if "could not find the requested resource" in why or "not a Kubernetes Status" in why or not error.message:
        reason = "the operator is not installed in this cluster: it does not know TrainingJobs"
        return Problem(what, reason, INSTALL, code=Code.NOT_FOUND)
    namespace = _NAMESPACE_MISSING.match(why)
    if namespace is not None:
        fix = f"kubectl create namespace {namespace[1]}, or name another one with -n"
        return Problem(what, f"there is no namespace {namespace[1]}", fix, code=Code.NOT_FOUND)
    return Problem(what, why, "'ganger list -A' shows the jobs of every namespace", code=Code.NOT_FOUND)


def from_system(error: OSError) -> Problem:
    """Return the problem of a file or connection that the operating system refused."""
    if isinstance(error, ssl.SSLError):
        fix = "check certificate-authority-data of this cluster in the kubeconfig"
        return Problem("the connection to the API server is not trusted", str(error), fix, code=Code.REFUSED)
    name = error.filename if error.filename is not None else "the operation"
    return Problem(f"{name} cannot be used", error.strerror or str(error), "check the path and its permissions")


def from_bug(error: Exception) -> Problem:
    """Return the problem of an error that nobody foresaw."""
    why = escape(f"{type(error).__name__}: {error}")
    return Problem("ganger itself failed", why, "run it again with --debug and report what it shows")


def _permission(error: "errors.Forbidden") -> str:
    if error.is_quota:
        return "ask for fewer workers or resources, wait for other jobs, or have the quota raised"
    if error.is_namespace_terminating:
        return "the namespace is being deleted: use another one"
    return "ask an administrator for the ClusterRole ganger-edit (ganger-view to read) in this namespace"
