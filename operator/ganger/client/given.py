"""A job as Python has it: the path of a manifest, the manifest as a dictionary, or a typed job; checked in one way."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ganger.api.types import TrainingJob, encode
from ganger.cli import manifests, profiles, submit
from ganger.cli.manifests import Document, Source
from ganger.cli.problem import Code, Problem
from ganger.contract import API_GROUP, API_VERSION, KIND

Manifest = str | os.PathLike[str] | Mapping[str, Any] | TrainingJob


def source(manifest: Manifest) -> Source:
    """Return what the manifest says, with its mistakes."""
    if isinstance(manifest, str | os.PathLike):
        path = Path(manifest)
        if path.is_dir():
            raise Problem(f"{path} is a folder", "", "name the file of one job", code=Code.USAGE)
        return manifests.checked(str(path), path.read_bytes)
    whole = written(manifest) if isinstance(manifest, TrainingJob) else dict(manifest)
    try:
        text = msgspec.json.encode(whole)
    except (TypeError, ValueError) as error:
        raise Problem(
            "the manifest is none", str(error), "write plain values, as JSON has them", code=Code.USAGE
        ) from error
    return manifests.checked("manifest", lambda: text)


def document(manifest: Manifest, *profile_files: str | os.PathLike[str], needed: bool, alone: bool = False) -> Document:
    """Return the one job of the manifest. Raises Problem with every mistake.

    needed: whether the profile that the job names must be at hand, in the manifest's own file or in profile_files.
    alone: whether a profile beside the job is a mistake, since it would not be sent.
    """
    found = submit.without_profiles(source(manifest)) if alone else source(manifest)
    more = [one for name in profile_files for one in manifests.read((os.fspath(name),), ())]
    known = profiles.at_hand([found, *more])
    applied = msgspec.structs.replace(
        found, documents=tuple(profiles.applied(one, known, needed=needed) for one in found.documents)
    )
    jobs, mistakes = manifests.sorted_out([applied])
    if mistakes:
        why = "; ".join(str(mistake) for mistake in mistakes)
        raise Problem("the manifest is not valid", why, "correct what is named", code=Code.USAGE)
    return manifests.one(jobs, what="this")


def written(job: TrainingJob) -> dict[str, Any]:
    """Return the manifest that a person would have written for the job: without what the API server adds."""
    told = {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "labels": job.metadata.labels,
        "annotations": job.metadata.annotations,
    }
    metadata = {key: value for key, value in told.items() if value}
    spec = job.written or encode(job.spec)
    return {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}
