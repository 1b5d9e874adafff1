"""`ganger validate`: every mistake of every manifest, each with its line; needs no cluster."""

from collections.abc import Sequence

import click

from ganger.cli import arguments, manifests, profiles
from ganger.cli.manifests import Source
from ganger.cli.problem import Code
from ganger.cli.session import Session
from ganger.cli.terminal import escape


@click.command()
@manifests.files
@profiles.option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of what is valid.")
@arguments.common
@arguments.pass_session
def validate(
    session: Session, files: tuple[str, ...], options: tuple[str, ...], profile_files: tuple[str, ...], quiet: bool
) -> Code:
    """Check a manifest without a cluster: every mistake with its line.

    \b
    Examples:
      ganger validate job.yaml
      ganger validate manifests/ --profile profiles.yaml

    Exit code 0: all are valid. 2: some are not.
    """
    sources = profiles.resolved(files, options, profile_files, needed=False)
    for source in sources:
        _tell(session, source, quiet=quiet)
    mistakes = sum(len(source.all_mistakes()) for source in sources)
    if not mistakes:
        return Code.COMPLETE
    session.terminal.message(_summary(sources, mistakes), "red", "bold")
    return Code.USAGE


def _tell(session: Session, source: Source, *, quiet: bool) -> None:
    for mistake in source.mistakes:
        session.terminal.data(str(mistake))
    for document in source.documents:
        for mistake in document.mistakes:
            session.terminal.data(str(mistake))
        if document.foreign_kind and not source.mistakes and not quiet:
            session.terminal.message(escape(f"{source.name}: {document.foreign_kind} {document.name} is left out"))
        elif any((document.job, document.profile, document.dev)) and not quiet:
            session.terminal.data(escape(f"{source.name}: {document.name} is valid"))
        if document.job is not None and profiles.is_missing(document.job) and not quiet:
            text = f"profile {document.job.spec.profile} is not at hand: what it adds is not checked (--profile FILE)"
            session.terminal.message(escape(f"{source.name}: {document.name}: {text}"))


def _summary(sources: Sequence[Source], mistakes: int) -> str:
    wrong = sum(bool(source.all_mistakes()) for source in sources)
    count = "1 mistake" if mistakes == 1 else f"{mistakes} mistakes"
    return f"{count} in {sources[0].name}" if len(sources) == 1 else f"{count} in {wrong} of {len(sources)} files"
