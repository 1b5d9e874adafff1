"""Manifests from files, folders and standard input, checked offline: every mistake with its file and line."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct

from ganger.api.envelope import without_nulls
from ganger.api.field_error import FieldError
from ganger.api.manifest import SIZE_BYTES_MAX, Located, ManifestError, load
from ganger.api.profile import TrainingProfile
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob
from ganger.api.validate import check_manifest, check_profile, check_session_manifest
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, KIND, PROFILE_KIND, SESSION_KIND

Function = TypeVar("Function", bound=Callable[..., Any])
STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")
_KINDS = (KIND.lower(), PROFILE_KIND.lower(), SESSION_KIND.lower())
_OURS = re.compile(rb"apiVersion[\"']?\s*:\s*[\"']?ganger\.dev/")


class Mistake(Struct, frozen=True):
    """One thing that is wrong, and where. line: counted from 1, None where no line is at fault."""

    source: str
    line: int | None
    text: str

    def __str__(self) -> str:
        """As compilers write it, so that editors find the place."""
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return escape(f"{place}: {self.text}")


class Document(Struct, frozen=True, kw_only=True):
    """One document of a source. job, profile, dev: what it means, None where it has mistakes or is of another kind."""

    source: str
    located: Located
    job: TrainingJob | None = None
    profile: TrainingProfile | None = None
    dev: DevSession | None = None
    mistakes: tuple[Mistake, ...] = ()
    foreign_kind: str = ""

    @property
    def name(self) -> str:
        """The job's name as people know it."""
        metadata = self.located.manifest.get("metadata") or {}
        return str(metadata.get("name") or metadata.get("generateName") or "")

    def at(self, path: str) -> str:
        """Return the place of a field, as file:line."""
        return f"{self.source}:{self.located.line(path)}"


class Source(Struct, frozen=True, kw_only=True):
    """What one file said. mistakes: those that concern the whole file."""

    name: str
    documents: tuple[Document, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    def all_mistakes(self) -> list[Mistake]:
        """Return the mistakes of the file and of its documents."""
        return [*self.mistakes, *(mistake for document in self.documents for mistake in document.mistakes)]


def files(function: Function) -> Function:
    """Add FILES, which -f may name too, as kubectl has it."""
    function = click.option(
        "-f",
        "--filename",
        "options",
        type=click.Path(allow_dash=True),
        multiple=True,
        metavar="FILE",
        help="A file, a folder, or - for standard input; may be given several times.",
    )(function)
    paths = click.Path(allow_dash=True)
    return click.argument("files", nargs=-1, type=paths, metavar="[FILE]...")(function)


def read(files: Sequence[str], options: Sequence[str]) -> list[Source]:
    """Return what the files say, each checked. Raises Problem where none is named."""
    named = (*files, *options)
    if not named:
        raise Problem("no manifest is named", "", "name a file, a folder, or - for standard input", code=Code.USAGE)
    return [source for name in named for source in _sources(name)]


def jobs(session: Session, sources: Sequence[Source], *, what: str, needed: bool = True) -> list[Document]:
    """Return the jobs of the sources. Raises Problem, after every mistake was told, where there is any.

    what: what is not done then, as in 'nothing was submitted'. needed: whether it is a mistake that there are none.
    """
    found, mistakes = sorted_out(sources, needed=needed)
    if mistakes:
        for mistake in mistakes:
            session.terminal.message(str(mistake))
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise Problem(what, f"{count} in the manifest", "correct the lines above", code=Code.USAGE)
    return found


def sorted_out(sources: Sequence[Source], *, needed: bool = True) -> tuple[list[Document], list[Mistake]]:
    """Return the jobs of the sources, and every mistake: of the sources, and that nothing else than jobs is in them.

    needed: whether it is one that there is no job.
    """
    mistakes = [mistake for source in sources for mistake in source.all_mistakes()]
    mistakes += [
        Mistake(document.source, document.located.line("kind"), f"kind: {document.foreign_kind} is no {KIND}")
        for source in sources
        for document in source.documents
        if document.foreign_kind
    ]
    found = [document for source in sources for document in source.documents if document.job is not None]
    if needed and not mistakes and not found:
        mistakes.append(Mistake(sources[0].name, None, f"holds no {KIND}"))
    return found, mistakes


def one(documents: Sequence[Document], *, what: str) -> Document:
    """Return the only job. Raises Problem where there are several. what: what needs one job."""
    if len(documents) != 1:
        names = ", ".join(document.name for document in documents)
        raise Problem(f"{what} takes one job, not {len(documents)}", names, "name a file with one job", code=Code.USAGE)
    return documents[0]


def _sources(name: str) -> Iterator[Source]:
    path = Path(name)
    if name == STDIN:
        yield checked("stdin", lambda: sys.stdin.buffer.read(SIZE_BYTES_MAX + 1))
    elif path.is_dir():
        sources = [checked(os.fspath(inner), inner.read_bytes) for inner in _manifests_in(path)]
        if not sources:
            text = f"no {KIND} in the {', '.join(SUFFIXES)} files of this folder"
            yield Source(name=name, mistakes=(Mistake(name, None, text),))
        yield from sources
    else:
        yield checked(name, path.read_bytes)


def _manifests_in(folder: Path) -> Iterator[Path]:
    """Yield the files that hold a job, of the folder and those below it: a folder may hold much else."""
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith("."):
            yield from _manifests_in(inner)
        elif inner.suffix in SUFFIXES and inner.is_file() and _OURS.search(inner.read_bytes()):
            yield inner


def checked(name: str, read_bytes: Callable[[], bytes]) -> Source:
    """Return what a manifest says. name: what it is called where a mistake is told."""
    try:
        found = load(read_bytes())
    except ManifestError as error:
        return Source(name=name, mistakes=(Mistake(name, error.line, error.message),))
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        return Source(name=name, mistakes=(Mistake(name, None, text),))
    documents = tuple(checked_document(name, located) for located in found)
    if all(document.foreign_kind for document in documents):
        kinds = ", ".join(document.foreign_kind for document in documents)
        return Source(name=name, mistakes=(Mistake(name, None, f"holds no {KIND}, only {kinds}"),), documents=documents)
    return Source(name=name, documents=documents)


def checked_document(source: str, located: Located) -> Document:
    """Return one document with what it means, or with its mistakes."""
    kind = _foreign(located.manifest)
    if kind:
        return Document(source=source, located=located, foreign_kind=kind)
    if str(located.manifest.get("kind", "")).lower().startswith(PROFILE_KIND.lower()):
        errors = check_profile(located.manifest)
        read = without_nulls(located.manifest, PROFILE_KIND)
        profile = None if errors else msgspec.convert(read, TrainingProfile)
        return Document(source=source, located=located, profile=profile, mistakes=_mistakes(source, located, errors))
    if str(located.manifest.get("kind", "")).lower().startswith(SESSION_KIND.lower()):
        dev, errors = check_session_manifest(located.manifest)
        return Document(source=source, located=located, dev=dev, mistakes=_mistakes(source, located, errors))
    job, errors = check_manifest(located.manifest)
    mistakes = _mistakes(source, located, errors)
    return Document(source=source, located=located, job=None if mistakes else job, mistakes=mistakes)


def _mistakes(source: str, located: Located, errors: Sequence[FieldError]) -> tuple[Mistake, ...]:
    found = (Mistake(source, located.line(error.path), str(error)) for error in errors)
    return tuple(sorted(found, key=lambda mistake: mistake.line or 0))


def _foreign(manifest: dict[str, Any]) -> str:
    """Return the kind of an object that is plainly something else, such as a ConfigMap beside the job, else ""."""
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not kind:
        return ""
    ours = version.partition("/")[0] == API_GROUP or kind.lower().startswith(_KINDS)
    return "" if ours else kind
