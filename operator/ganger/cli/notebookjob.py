"""A notebook as the work of a job: the module that its cells make."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganger.cli import notebook, signature
from ganger.cli.closure import closure
from ganger.cli.notebook import Cell, Fault
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.cli.work import Work, identifier, job_name, small
from ganger.contract import ENV_CONFIG


def work(session: Session, path: Path, *, function: str, task: str, arguments: Mapping[str, Any]) -> Work:
    """Return what the notebook does as a job. Raises Problem, after every line in the way was told.

    function, task: what is taken of it, "" for all. arguments: what the function is called with.
    """
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
        found = next((one for cell in reversed(kept) if (one := signature.of(cell.source, function)) is not None), None)
        if arguments and found is not None:
            signature.check(function, found, arguments, str(path))
        text += called(function, tuple(arguments))
    module = f"{identifier(path.stem)}_notebook"
    return Work(
        files=small(str(path), {f"{module}.py": text}),
        spec={"task": f"{module}:{task}"} if task else {"script": ["-m", module]},
        what="notebook",
        source=str(path),
        config=dict(arguments),
        name=job_name(path.stem),
    )


def called(function: str, names: Sequence[str]) -> str:
    """Return the end of a module that calls a function of it, with these settings of the job. Pure."""
    if not names:
        return f'\n\nif __name__ == "__main__":\n    {function}()\n'
    return f"""

if __name__ == "__main__":
    from json import loads as _loads
    from os import environ as _environ

    _settings = _loads(_environ["{ENV_CONFIG}"])
    {function}(**{{_name: _settings[_name] for _name in {tuple(names)!r}}})
"""


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
