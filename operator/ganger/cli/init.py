"""`ganger init`: the first manifest of a job, with a comment at every field that is worth one."""

from importlib import resources
from pathlib import Path

import click

from ganger.api.pattern import matches
from ganger.api.rules import JOB_NAME
from ganger.cli import arguments
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape

# What each is, and the files that it needs beside the manifest.
EXAMPLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "task": ("a task of the trainer library, on two CPU workers", ()),
    "project": ("a task of your own, with task.py and a README.md", ("task.py", "README.md")),
    "script": ("a script of your own under torchrun's agent, with train.py", ("train.py",)),
    "command": ("any command in any image", ()),
    "gpu": ("a task on two workers of eight GPUs", ()),
}
STDOUT = "-"
_CODE = {"script": "train.py", "project": "task.py"}  # what a cluster is given as a ConfigMap
_FILE = "JOB-FILE"
_PLACE = "JOB-NAME"  # no job may be called that, so that one which was forgotten is found


@click.command()
@click.argument("name", required=False)
@click.option(
    "--example", type=click.Choice(tuple(EXAMPLES)), default="task", show_default=True, help="What kind of job."
)
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Where to; - is standard output. Default: NAME.yaml.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@arguments.common
@arguments.pass_session
def init(session: Session, name: str | None, example: str, path: str | None, force: bool) -> Code:
    """Write the manifest of a first job, with comments.

    \b
    Examples:
      ganger init digits
      ganger init mine --example project
      ganger init --example gpu -f - | ganger submit -f -

    \b
    task      a task of the trainer library, on two CPU workers
    project   a task of your own, with task.py and a README.md
    script    a script of your own under torchrun's agent, with train.py
    command   any command in any image
    gpu       a task on two workers of eight GPUs

    NAME is that of the job and, with .yaml, of the file. What is written is valid; nothing is written over without
    --force.
    """
    text = manifest(example, name or example)
    if path == STDOUT:
        session.terminal.data(text.rstrip("\n"))
        return Code.COMPLETE
    target = Path(path or f"{name or example}.yaml")
    contents = {target: text} | {
        target.with_name(beside): _template(beside).replace(_PLACE, name or example).replace(_FILE, target.name)
        for beside in EXAMPLES[example][1]
    }
    _write(contents, force=force)
    for written in contents:
        session.terminal.data(escape(f"{written} written"))
    session.terminal.message(escape(f"check it with: ganger validate {target}"))
    if example != "gpu":
        session.terminal.message(escape(f"run it here with: ganger run {target}"))
    if example in _CODE:
        code = f"kubectl create configmap {name or example}-code --from-file={target.with_name(_CODE[example])}"
        session.terminal.message(escape(f"give the cluster its code with: {code}"))
    session.terminal.message(escape(f"send it to the cluster with: ganger submit {target} --watch"))
    return Code.COMPLETE


def manifest(example: str, name: str) -> str:
    """Return the manifest of an example under this name. Raises Problem where no job may be called that."""
    if not matches(JOB_NAME, name):
        why = "at most 40 characters of a-z, 0-9 and '-', a letter first and a letter or digit last"
        raise Problem(f"no job can be called '{escape(name)}'", why, "choose one such as digits-2", code=Code.USAGE)
    return _template(f"{example}.yaml").replace(_PLACE, name)


def _template(name: str) -> str:
    # As .txt, since a script that needs torch is no module of this package.
    stored = name if name.endswith(".yaml") else f"{name}.txt"
    return (resources.files("ganger.cli") / "scaffold" / stored).read_text(encoding="utf-8")


def _write(contents: dict[Path, str], *, force: bool) -> None:
    """Write all of the files, or none where one is there already and `force` is not set."""
    there = [path for path in contents if path.exists() or path.is_symlink()]
    if there and not force:
        names = " and ".join(str(path) for path in there)
        fix = "choose another NAME or another --file, or add --force"
        what = "nothing was written"
        raise Problem(what, escape(f"{names} is there already"), fix, code=Code.USAGE)
    for path, text in contents.items():
        # Never "w" without --force: between the look and the writing somebody else may have made it.
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
