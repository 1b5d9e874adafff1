"""What must hold of every case without a cluster."""

import json
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from fuzz import transitions
from fuzz.cases import Case
from fuzz.lives import IMAGE, stored
from ganger.api.defaults import fill
from ganger.api.field_error import FieldError
from ganger.api.types import TrainingJob, decode, encode
from ganger.api.validate import check, check_manifest
from ganger.cli import manifests
from ganger.plan import pods, service, volumes

TOP = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True)
class Verdict:
    """How a case went. troubles: what should not be, in words."""

    accepted: bool
    troubles: tuple[str, ...]


def verdict(case: Case) -> Verdict:
    """Judge one case. Whatever is raised on the way is a trouble too: nobody may ever see a traceback."""
    try:
        accepted, troubles = _file(case)
        if case.manifest is not None:
            troubles += _manifest(case)
        if case.before is not None and case.manifest is not None:
            troubles += transitions.troubles(case.before, case.manifest)
    except Exception as error:  # noqa: BLE001 -- that none is raised is the point
        return Verdict(False, (f"{type(error).__name__}: {error!s:.500}",))
    return Verdict(accepted, tuple(troubles))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ganger-fuzz-")  # removed with the process


def _file(case: Case) -> tuple[bool, list[str]]:
    """Ask as `ganger validate FILE` does: one line for each mistake, and every job can be built."""
    path = Path(_folder().name) / "job.yaml"
    path.write_bytes(case.text)
    (source,) = manifests.read((str(path),), ())
    told = [str(mistake) for mistake in source.all_mistakes()]
    troubles = [f"more than a line of text: {line!r}" for line in told if not line.isprintable()]
    if case.refused is False:
        troubles += [f"refused although valid: {line}" for line in told if "not supported by this version" not in line]
    jobs = [document.job for document in source.documents if document.job is not None]
    if not told and not jobs:
        troubles.append("neither a job nor a mistake")
    for job in jobs:
        troubles += _accepted(job)
    return not told, troubles


def _manifest(case: Case) -> list[str]:
    assert case.manifest is not None
    job, errors = check_manifest(case.manifest)
    troubles = [f"names no field: {error}" for error in errors if not _names(error)]
    if case.refused is False and errors:
        troubles.append(f"refused although valid: {'; '.join(map(str, errors))}")
    if case.refused and not errors:
        troubles.append(f"accepted although {case.path} is wrong")
    if case.refused and errors and not any(_near(error.path, case.path) for error in errors):
        troubles.append(f"{case.path} is wrong, blamed is {'; '.join(map(str, errors))}")
    if (job is None) != bool(errors):
        troubles.append("neither a job nor a mistake")
    return troubles


def _accepted(job: TrainingJob) -> list[str]:
    """What the operator does with such a job: it reads it again, fills it in and builds every object of it."""
    troubles = []
    if job != decode(json.dumps(encode(job)).encode()):
        troubles.append("read again it is another job")
    if check(job):
        troubles.append(f"the operator would refuse it: {check(job)[0]}")
    full = stored(encode(job))
    if full != fill(full, IMAGE):
        troubles.append("filled in twice it is another job")
    built = [service.service(full), volumes.claim(full), pods.pod(full, 0, 0), pods.pod(full, 7, full.spec.workers - 1)]
    msgspec.json.encode(built)
    return troubles


def _names(error: FieldError) -> bool:
    """Whether it says something of a field that a manifest has, or of one that none has."""
    root = re.split(r"[.\[]", error.path)[0]
    return error.path.isprintable() and (root in TOP or "unknown field" in error.message) and bool(error.message)


def _near(blamed: str, wrong: str) -> bool:
    """Whether the blamed field is the wrong one, inside it or around it."""
    return blamed.startswith(wrong) or wrong.startswith((f"{blamed}.", f"{blamed}["))
