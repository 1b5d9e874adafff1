"""A job whose code is a notebook: the module that its cells make, the ConfigMap that carries it, the manifest."""

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from ganger.api.manifest import Located, ManifestError, load
from ganger.cli import arguments, manifests, notebook
from ganger.cli.closure import closure
from ganger.cli.manifests import Document, Source
from ganger.cli.notebook import Cell, Fault
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, API_VERSION, KIND, LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY

Function = TypeVar("Function", bound=Callable[..., Any])
CODE_BYTES_MAX = 1_000_000  # a ConfigMap holds 1 MiB, with its keys and metadata
_WORK = ("task", "script", "command", "code")
_NAME_CHARACTERS_MAX = 40


class Work(Struct, frozen=True, kw_only=True):
    """The module of a notebook. task: what the trainer's loop takes from it, "" where it is a script."""

    module: str
    text: str
    task: str = ""

    @property
    def spec(self) -> dict[str, Any]:
        """What it is in the manifest."""
        return {"task": f"{self.module}:{self.task}"} if self.task else {"script": ["-m", self.module]}


def options(function: Function) -> Function:
    """Add what makes a job of a notebook: handed over as notebook, function, task and name."""
    for decorator in (
        click.option("--name", type=arguments.ObjectName(), help="Name of the job. Default: that of the file."),
        click.option("--task", default="", metavar="NAME", help="The notebook's task, for the trainer's loop."),
        click.option("--function", default="", metavar="NAME", help="Call this function, with what it needs alone."),
        click.option(
            "--from-notebook",
            "notebook",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help=f"The cells of this notebook are the code; those tagged '{notebook.TAG}' alone, if there are any.",
        ),
    ):
        function = decorator(function)
    return function


def refuse_alone(function: str, task: str, name: str | None) -> None:
    """Raise UsageError where an option of notebooks is given without one."""
    if function or task or name is not None:
        raise click.UsageError("--function, --task and --name are about a notebook: name it with --from-notebook")


def of(
    session: Session, path: Path, files: Sequence[str], function: str, task: str, name: str | None, *, mounted: bool
) -> tuple[list[Document], Work]:
    """Return the job of a notebook, as a list of one, and the code that it runs. Raises Problem and UsageError."""
    if function and task:
        raise click.UsageError("--function makes a script and --task a task: name one of them")
    given = base(files)
    made = work(session, path, function=function, task=task)
    return [document(session, path, made, given, name=name, mounted=mounted)], made


def work(session: Session, path: Path, *, function: str, task: str) -> Work:
    """Return what the notebook does as a job. Raises Problem, after every line in the way was told."""
    cells = [notebook.plain(cell) for cell in notebook.chosen(notebook.read(path))]
    faults = [fault for _, found in cells for fault in found]
    kept = [cell for cell, _ in cells]
    name = function or task
    if name:
        # What is no Python is no part of the function: nothing is lost with it.
        faults = [_left_behind(fault) for fault in faults]
        kept, missing = closure(kept, name)
        if not kept and not any(not fault.removed for fault in faults):
            raise _no_such(path, name, [cell for cell, _ in cells])
        faults += missing
    faults += [fault for cell in kept for fault in notebook.uses_of_the_notebook(cell)]
    _tell(session, path, faults)
    text = notebook.joined(kept, path.name)
    if not any(cell.source.strip() for cell in kept):
        raise Problem(
            f"{path} has no code for a job",
            "every code cell is empty or to be skipped",
            f"tag a cell '{notebook.TAG}', or begin it with: {notebook.MARK}",
            code=Code.USAGE,
        )
    if function:
        text += f'\n\nif __name__ == "__main__":\n    {function}()\n'
    if len(text.encode()) > CODE_BYTES_MAX:
        raise Problem(
            f"the code of {path} is too big",
            f"it has {len(text.encode())} bytes, and a ConfigMap takes {CODE_BYTES_MAX} of them",
            "put data and libraries into the image or a volume (spec.volumes)",
            code=Code.USAGE,
        )
    return Work(module=f"{_identifier(path.stem)}_notebook", text=text, task=task)


def base(files: Sequence[str]) -> tuple[str, Located] | None:
    """Return name and content of the manifest that says the rest of the job, None where no file is named.

    It need not say what runs. Raises Problem where it is not one TrainingJob.
    """
    if not files:
        return None
    fix = f"name one file with one {KIND}; what is run may be left out of it"
    if len(files) > 1:
        raise Problem("a notebook takes one manifest", ", ".join(files), fix, code=Code.USAGE)
    name = files[0]
    try:
        found = load(sys.stdin.buffer.read() if name == manifests.STDIN else Path(name).read_bytes())
    except ManifestError as error:
        raise Problem(f"{name} cannot be read", escape(str(error)), "correct it", code=Code.USAGE) from error
    if len(found) != 1 or found[0].manifest.get("kind") != KIND:
        raise Problem(f"{name} is not one {KIND}", f"it has {len(found)} documents", fix, code=Code.USAGE)
    return name, found[0]


def document(
    session: Session, path: Path, made: Work, given: tuple[str, Located] | None, *, name: str | None, mounted: bool
) -> Document:
    """Return the job: the base with the notebook as its work, checked. mounted: the code comes from a ConfigMap.

    Raises Problem, after every mistake was told, where it would be no valid job.
    """
    source, located = given if given is not None else (str(path), Located({}, {"": 1}))
    manifest = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": {}} | located.manifest
    spec = dict(manifest.get("spec") or {})
    replaced = [f"spec.{field}" for field in _WORK if spec.pop(field, None) is not None]
    if replaced:
        session.terminal.message(escape(f"the notebook takes the place of {', '.join(replaced)} of {source}"))
    metadata = dict(manifest["metadata"] or {})
    metadata["name"] = name or metadata.get("name") or _job_name(path.stem)
    metadata.pop("generateName", None)
    code = {"code": {"configMap": {"name": map_name(metadata["name"], made)}}} if mounted else {}
    manifest |= {"metadata": metadata, "spec": made.spec | code | spec}
    checked = manifests.checked_document(source, Located(manifest, located.lines))
    found = Source(name=source, documents=(checked,))
    return manifests.one(manifests.jobs(session, [found], what="nothing was submitted"), what="a notebook")


def map_name(job: str, made: Work) -> str:
    """Return the name of the ConfigMap: another code is another object, so no running job changes under its feet."""
    return f"{job}-code-{hashlib.sha256(made.text.encode()).hexdigest()[:8]}"


def config_map(job: str, made: Work, namespace: str | None) -> dict[str, Any]:
    """Return the ConfigMap with the code. Nobody can change it; whoever owns it takes it along."""
    metadata: dict[str, Any] = {"name": map_name(job, made)}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_JOB: job}
    data = {f"{made.module}.py": made.text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": data}


def _left_behind(fault: Fault) -> Fault:
    """Return the fault of a line outside of the function: it is told and stands in nobody's way."""
    if fault.removed or fault.text.startswith("Python cannot"):
        return fault
    return Fault(fault.cell, fault.line, f"{fault.text} and is left out", removed=True)


def _tell(session: Session, path: Path, faults: list[Fault]) -> None:
    for fault in faults:
        session.terminal.message(escape(f"{path}: {fault}"))
    wrong = [fault for fault in faults if not fault.removed]
    if wrong:
        count = "a line" if len(wrong) == 1 else f"{len(wrong)} lines"
        fix = (
            f"correct them, tag the cell '{notebook.TAG_SKIP}', or mark what the job needs with '{notebook.MARK}'; "
            "packages belong into the image"
        )
        raise Problem("nothing was submitted", f"{count} of {path} cannot be part of a job", fix, code=Code.USAGE)


def _no_such(path: Path, name: str, cells: list[Cell]) -> Problem:
    known = sorted(
        node.name
        for cell in cells
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    why = f"its cells define {', '.join(known)}" if known else "its cells define no function"
    return Problem(f"{path} has no {name}", escape(why), "name one of its functions", code=Code.USAGE)


def _identifier(stem: str) -> str:
    """Return the stem as the beginning of a module's name."""
    text = re.sub(r"\W", "_", stem, flags=re.ASCII).strip("_").lower()
    return text if text[:1].isalpha() else f"n{text}"


def _job_name(stem: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return (text if text[:1].isalpha() else f"n-{text}".rstrip("-"))[:_NAME_CHARACTERS_MAX].rstrip("-")
