"""Profiles at hand: those in the files of the command line, which stand for the cluster's where there is none."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from ganger.api.profile import TrainingProfile, misfits, taken
from ganger.api.types import TrainingJob, profiled
from ganger.cli import manifests
from ganger.cli.manifests import Document, Mistake, Source
from ganger.contract import PROFILE_KIND

Function = TypeVar("Function", bound=Callable[..., Any])


def option(function: Function) -> Function:
    """Add --profile."""
    return click.option(
        "--profile",
        "profile_files",
        type=click.Path(),
        multiple=True,
        metavar="FILE",
        help="A file with the TrainingProfile that the job names; it may also stand beside the job.",
    )(function)


def at_hand(sources: Sequence[Source]) -> list[TrainingProfile]:
    """Return the profiles in the files, in their order."""
    found = (document.profile for source in sources for document in source.documents)
    return [profile for profile in found if profile is not None]


def of(job: TrainingJob, profiles: Sequence[TrainingProfile]) -> TrainingProfile | None:
    """Return the profile that the job names: the one of its own namespace, else the first of that name."""
    named = [profile for profile in profiles if profile.metadata.name == job.spec.profile]
    own = [profile for profile in named if profile.metadata.namespace == job.metadata.namespace]
    return next(iter([*own, *named]), None)


def is_missing(job: TrainingJob) -> bool:
    """Whether the job names a profile that was not at hand."""
    return job.spec.profile is not None and job.status.profile is None


def applied(document: Document, profiles: Sequence[TrainingProfile], *, needed: bool) -> Document:
    """Return the document with its job as the profile makes it, or with the mistakes that come of it.

    needed: whether a profile that is not at hand is a mistake.
    """
    job = document.job
    if job is None or job.spec.profile is None:
        return document
    found = of(job, profiles)
    if found is not None:
        wrong = [
            Mistake(document.source, document.located.line(error.path), f"{error} (with profile {found.metadata.name})")
            for error in misfits(job, taken(found))
        ]
        if not wrong:
            return msgspec.structs.replace(document, job=profiled(job, taken(found)))
        return msgspec.structs.replace(document, job=None, mistakes=tuple(wrong))
    if not needed:
        return document
    text = f"spec.profile: {job.spec.profile} is not at hand; put it beside the job, or name its file with --profile"
    mistake = Mistake(document.source, document.located.line("spec.profile"), text)
    return msgspec.structs.replace(document, job=None, mistakes=(mistake,))


def resolved(
    files: Sequence[str], options: Sequence[str], profile_files: Sequence[str], *, needed: bool = True
) -> list[Source]:
    """Return what the files say, every job as its profile makes it, and what the files of profiles say.

    Raises Problem where no file is named. needed: whether a profile that is not at hand is a mistake.
    """
    sources = manifests.read(files, options)
    more = manifests.read(profile_files, ()) if profile_files else []
    more = [_of_profiles(source) for source in more]
    known = at_hand([*sources, *more])
    for number, source in enumerate(sources):
        documents = tuple(applied(document, known, needed=needed) for document in source.documents)
        sources[number] = msgspec.structs.replace(source, documents=documents)
    return [*sources, *more]


def _of_profiles(source: Source) -> Source:
    """Refuse a file of --profile without any: it is another file than the person believes."""
    if source.mistakes or any(document.profile or document.mistakes for document in source.documents):
        return source
    mistake = Mistake(source.name, None, f"holds no {PROFILE_KIND}")
    return msgspec.structs.replace(source, mistakes=(mistake,))
