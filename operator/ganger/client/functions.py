"""A function of this program as the work of a job: where it stands, or why it cannot go along."""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ganger.api.manifest import Located
from ganger.api.types import TrainingJob
from ganger.cli import functionjob, manifests, work
from ganger.cli.manifests import Document
from ganger.cli.problem import Code, Problem
from ganger.cli.work import Work
from ganger.client import given
from ganger.client.given import Manifest

NOTEBOOK = "save the notebook, and: ganger submit --from-notebook FILE --function {name}; or put it into a file"


def place(function: Callable[..., Any]) -> tuple[Path, str]:
    """Return the file of a function and its name there. Raises Problem where a job could not find it again."""
    name = getattr(function, "__name__", type(function).__name__)
    if not inspect.isfunction(function):
        kind = "a class" if isinstance(function, type) else f"a {type(function).__name__}"
        raise _refused(name, f"it is {kind}, and a job calls a function by its name", "wrap it in a def of a file")
    if name == "<lambda>":
        raise _refused(
            "a lambda", "it has no name by which a job could call it", "write it as a def at the top of a file"
        )
    if "<locals>" in function.__qualname__:
        held = ", ".join(function.__code__.co_freevars)
        why = f"it is made inside of {function.__qualname__.partition('.<locals>')[0]}"
        fix = "write it as a def at the top of a file, and give what it holds as arguments"
        raise _refused(name, f"{why}, and holds {held} of it" if held else why, fix)
    if function.__qualname__ != name:
        why = f"it belongs to class {function.__qualname__.rpartition('.')[0]}"
        raise _refused(name, why, "write a def at the top of a file that calls it")
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    if file is None or not Path(file).is_file() or not file.endswith(".py"):
        raise _refused(name, "it stands in no file: a notebook or a prompt has it", NOTEBOOK.format(name=name))
    return Path(file), name


def document(
    function: Callable[..., Any], arguments: Mapping[str, Any], manifest: Manifest | None, name: str | None
) -> tuple[Document, Work]:
    """Return the job that calls the function, and the code that it brings along. Raises Problem with every mistake.

    arguments: by name, as JSON has values. manifest: what says the rest of the job; it need not say what runs.
    """
    path, entry = place(function)
    source, base = _base(manifest)
    spec = base.get("spec")
    config = spec.get("config") if isinstance(spec, dict) else None
    made = functionjob.work(path, entry, _plain(entry, arguments), config if isinstance(config, dict) else {})
    if isinstance(made, list):
        problem = functionjob.refused(made)
        raise Problem(problem.what, "; ".join(str(one) for one in made), problem.fix, code=problem.code)
    checked, _ = work.document(made, (source, Located(base, {"": 1})), name=name, mounted=True)
    jobs, mistakes = manifests.sorted_out([work.only(checked)])
    if mistakes:
        why = "; ".join(str(mistake) for mistake in mistakes)
        raise Problem("the manifest is not valid", why, "correct what is named", code=Code.USAGE)
    return manifests.one(jobs, what="a function"), made


def _base(manifest: Manifest | None) -> tuple[str, dict[str, Any]]:
    if manifest is None:
        return "the function", {}
    if isinstance(manifest, TrainingJob):
        return "manifest", given.written(manifest)
    if isinstance(manifest, Mapping):
        return "manifest", dict(manifest)
    found = work.base([str(manifest)], "function")
    assert found is not None, "a file is named"
    return found[0], found[1].manifest


def _plain(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(arguments)))
    except (TypeError, ValueError) as error:
        raise _refused(
            name, f"an argument is no value of JSON: {error}", "give numbers, texts, lists and such"
        ) from error
    return found


def _refused(name: str, why: str, fix: str) -> Problem:
    return Problem(f"{name} cannot be the work of a job", why, fix, code=Code.USAGE)
