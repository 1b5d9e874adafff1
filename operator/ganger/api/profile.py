"""TrainingProfile v1alpha1: policy that many jobs share, and how a job takes it (docs/adr/0018-profiles.md)."""

from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ganger.api.field_error import FieldError
from ganger.api.observed import Metadata
from ganger.api.status import ProfileStatus
from ganger.api.types import TrainingJob, profiled
from ganger.api.validate import PROFILE_BYTES_MAX, check, explain
from ganger.contract import API_GROUP, API_VERSION, PROFILE_KIND

_DIGEST_CHARS = 16


class TrainingProfile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Values for the jobs that name this profile in spec.profile. A job's own values win.

    spec: plain JSON, so that what is not written stays apart from what is. The API server has checked it.
    """

    api_version: str = f"{API_GROUP}/{API_VERSION}"
    kind: Literal["TrainingProfile"] = PROFILE_KIND
    metadata: Metadata = Metadata()
    spec: dict[str, Any] = {}


def taken(profile: TrainingProfile) -> ProfileStatus:
    """Return the profile as a job keeps it."""
    meta = profile.metadata
    return ProfileStatus(name=meta.name, namespace=meta.namespace, generation=meta.generation, values=profile.spec)


def digest(values: dict[str, Any]) -> str:
    """Return what tells two versions of a profile apart: the same values, the same text."""
    return sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()[:_DIGEST_CHARS]


def misfits(job: TrainingJob, found: ProfileStatus) -> list[FieldError]:
    """Return what is wrong with the job that the profile makes of it: the rules of a job without a profile. Pure."""
    if len(msgspec.json.encode(found.values)) > PROFILE_BYTES_MAX:
        return [FieldError("spec", f"the profile must be at most {PROFILE_BYTES_MAX} bytes as JSON")]
    try:
        whole = profiled(job, found)
    except msgspec.ValidationError as error:
        return [explain(error)]
    return check(msgspec.structs.replace(whole, spec=msgspec.structs.replace(whole.spec, profile=None)))
