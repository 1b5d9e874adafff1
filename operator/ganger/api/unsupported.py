"""Fields that the API has and this version does not serve yet.

The schema keeps them, so that a manifest is not rewritten when they come; the controller refuses them, so that nobody
believes in a promise that nothing keeps. A field at its default asks for nothing.
"""

from collections.abc import Callable

from msgspec import Struct

from ganger.api.field_error import FieldError
from ganger.api.types import TrainingJob


class Unserved(Struct, frozen=True):
    """One such field. asked: whether the job uses it. instead: what to do without it."""

    path: str
    asked: Callable[[TrainingJob], bool]
    instead: str


UNSERVED: tuple[Unserved, ...] = (
    Unserved("spec.export", lambda job: bool(job.spec.export), "export from a checkpoint when the job is complete"),
)


def unsupported(job: TrainingJob) -> list[FieldError]:
    """Return every field of the job that this version cannot serve. Pure."""
    return [
        FieldError(field.path, "is not supported by this version", field.instead)
        for field in UNSERVED
        if field.asked(job)
    ]
