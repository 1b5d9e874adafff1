"""A function as the work of a job: the whole file that it is in, and a module that calls it with the job's settings.

The file is read and never run here. `spec.config` holds the arguments, so another value is no other code.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganger.cli import signature, sourcefile
from ganger.cli.manifests import Mistake
from ganger.cli.notebook import MARK
from ganger.cli.problem import Code, Problem
from ganger.cli.signature import Def
from ganger.cli.terminal import escape
from ganger.cli.work import Work, identifier, job_name, small
from ganger.contract import ENV_CONFIG

ENTRY = '''\
"""Calls {function} of {module} with the settings of the job."""

import json
import os

from {module} import {function}

if __name__ == "__main__":
    {function}(**json.loads(os.environ["{config}"]))
'''
FORM = "write FILE.py:FUNCTION or MODULE:FUNCTION, as in train.py:main"


def located(target: str, folder: Path) -> tuple[Path, str]:
    """Return the file and the name of FILE.py:NAME or MODULE:NAME; "" for the marked function of FILE.py.

    folder: what a module is looked for in, before where Python looks. Raises Problem.
    """
    place, colon, name = target.rpartition(":") if ":" in target else (target, "", "")
    is_file = place.endswith(".py") or "/" in place
    if not place or (colon and not name.isidentifier()) or (not colon and not is_file):
        raise Problem(f"{escape(target)!r} names no function", "", FORM, code=Code.USAGE)
    if is_file:
        return Path(place), name
    if not all(part.isidentifier() for part in place.split(".")):
        raise Problem(f"{escape(place)!r} is no name of a module", "", FORM, code=Code.USAGE)
    return sourcefile.find(place, folder), name


def work(path: Path, name: str, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> Work | list[Mistake]:
    """Return the function as the work of a job, or every line that stands in the way. Raises Problem, OSError.

    name: of the function, "" for the marked one. arguments: what it is called with, over the settings in `config`,
    those of the manifest.
    """
    text = sourcefile.read(path)
    tree = sourcefile.parsed(path, text)
    if isinstance(tree, Mistake):
        return [tree]
    definition = _definition(path, name, tree, text.splitlines())
    mistakes = sourcefile.left_behind(path, tree)
    if mistakes:
        return mistakes
    if (takes := signature.of_definition(definition)) is not None:
        signature.check(definition.name, takes, {**config, **arguments}, str(path))
    module = f"{identifier(path.parent.name if path.stem == '__init__' else path.stem)}_function"
    entry = ENTRY.format(function=definition.name, module=module, config=ENV_CONFIG)
    return Work(
        files=small(str(path), {f"{module}.py": text, f"{module}_entry.py": entry}),
        spec={"script": ["-m", f"{module}_entry"]},
        what="function",
        source=str(path),
        name=job_name(definition.name),
        config=dict(arguments),
    )


def refused(mistakes: list[Mistake]) -> Problem:
    """Return the problem of a file that cannot go along, for whoever was told the lines."""
    count = "a line" if len(mistakes) == 1 else f"{len(mistakes)} lines"
    fix = (
        "correct them; what several files need belongs into the image, which runs them by spec.script: "
        "[-m, MODULE], or into one file"
    )
    return Problem(
        "nothing was submitted", f"{count} of {mistakes[0].source} cannot be part of a job", fix, code=Code.USAGE
    )


def _definition(path: Path, name: str, tree: ast.Module, lines: list[str]) -> Def:
    """Return the function of that name, or the marked one. Raises Problem with those that there are."""
    found = [one for one in tree.body if isinstance(one, Def)]
    known = f"it has {', '.join(sorted({one.name for one in found}))}" if found else "it has no function at its top"
    if not name:
        marked = [one for one in found if _is_marked(one, lines)]
        if len(marked) != 1:
            what = f"{path} has no marked function" if not marked else f"{path} has {len(marked)} marked functions"
            fix = f"name one, as in {path}:main, or write above one of them: {MARK}"
            raise Problem(what, escape(known), fix, code=Code.USAGE)
        return _plain(path, marked[0])
    named = [one for one in found if one.name == name]
    if not named:
        other = next((one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name), None)
        why = f"{name} is a class" if other is not None else known
        raise Problem(f"{path} has no function {name}", escape(why), "name a function at its top", code=Code.USAGE)
    return _plain(path, named[-1])


def _plain(path: Path, definition: Def) -> Def:
    if isinstance(definition, ast.AsyncFunctionDef):
        fix = f"name one that calls asyncio.run({definition.name}(...))"
        why = "nothing would wait for it"
        raise Problem(f"{definition.name} of {path} is an async function", why, fix, code=Code.USAGE)
    return definition


def _is_marked(definition: Def, lines: list[str]) -> bool:
    first = min([definition.lineno, *(one.lineno for one in definition.decorator_list)])
    return first > 1 and lines[first - 2].strip() == MARK
