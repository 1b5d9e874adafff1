"""The file that a module is in, found without running anything, and what of it would not be there in a job."""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from ganger.cli.manifests import Mistake
from ganger.cli.problem import Code, Problem
from ganger.cli.terminal import escape
from ganger.cli.work import CODE_BYTES_MAX

SUBMITS = "submit_function"  # of the client


def find(module: str, folder: Path) -> Path:
    """Return the file of a module, looked for in the folder and where Python looks. Raises Problem."""
    inner = Path(*module.split("."))
    for place in (folder, *(Path(one) for one in sys.path if one)):
        for path in (place / inner / "__init__.py", place / inner.with_suffix(".py")):
            if path.is_file():
                return path
    why = f"there is no {inner}.py in {folder}, nor where Python looks for modules"
    fix = "name a file (train.py:main), or a module that can be imported from this folder (pkg.train:main)"
    raise Problem(f"there is no module {escape(module)} to send", escape(why), fix, code=Code.USAGE)


def read(path: Path) -> str:
    """Return the text of a source file. Raises Problem where it is too big or no text, and OSError."""
    if path.stat().st_size > CODE_BYTES_MAX:
        why = f"it has {path.stat().st_size} bytes, and a ConfigMap takes {CODE_BYTES_MAX} of them"
        fix = "put data and libraries into the image or a volume (spec.volumes)"
        raise Problem(f"{path} is too big", why, fix, code=Code.USAGE)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(f"{path} cannot be read", "it is no UTF-8", "save it as UTF-8", code=Code.USAGE) from error


def parsed(path: Path, text: str) -> ast.Module | Mistake:
    """Return the source as a tree, or where Python cannot read it. Pure."""
    try:
        return ast.parse(text)
    except SyntaxError as error:
        return Mistake(str(path), error.lineno, f"Python cannot read it: {error.msg}")
    except ValueError as error:
        return Mistake(str(path), None, f"Python cannot read it: {error}")


def left_behind(path: Path, tree: ast.Module) -> list[Mistake]:
    """Return the imports of files beside the module, which do not go along, and calls that would submit it again."""
    root = _root(path)
    places = [] if _is_installed(root) else list(dict.fromkeys((path.parent, root)))
    found = []
    for node in _at_run_time(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            text = f"from {'.' * node.level}{node.module or ''} is relative to a package, and the module goes alone"
            found.append(Mistake(str(path), node.lineno, text))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            names = dict.fromkeys(one.partition(".")[0] for one in modules)
            found += [
                Mistake(str(path), node.lineno, f"import {name}: {local} does not go along")
                for name in names
                if (local := _local(name, places)) is not None
            ]
    found += [
        Mistake(str(path), node.lineno, f"{SUBMITS}() is called when the module is imported, so in the job again")
        for node in _when_imported(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) == SUBMITS or getattr(node.func, "id", None) == SUBMITS)
    ]
    return sorted(found, key=lambda mistake: mistake.line or 0)


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes but for what only a type checker or a run of the file itself reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _names(child.test) & {"TYPE_CHECKING", "__name__"}:
            for other in child.orelse:
                yield from _at_run_time(other)
        else:
            yield from _at_run_time(child)


def _when_imported(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that an import runs: no bodies of functions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "__name__" in _names(child.test):
            continue
        yield from _when_imported(child)


def _names(node: ast.AST) -> set[str]:
    return {
        one.id if isinstance(one, ast.Name) else one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
    }


def _root(path: Path) -> Path:
    """Return the folder that has the outermost package of the file, or the file itself."""
    folder = path.absolute().parent
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    return folder


def _is_installed(folder: Path) -> bool:
    known = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    return str(folder) in known


def _local(name: str, places: list[Path]) -> str | None:
    """Return the file or folder beside the module that an import means, None where it means something else."""
    if not name or name in sys.stdlib_module_names:
        return None
    for place in places:
        if (place / f"{name}.py").is_file():
            return f"{name}.py"
        folder = place / name
        if (folder / "__init__.py").is_file():
            return f"{name}/"
        if folder.is_dir() and next(folder.glob("*.py"), None) is not None and not _is_elsewhere(name, places):
            return f"{name}/"
    return None


def _is_elsewhere(name: str, places: list[Path]) -> bool:
    """Whether it is installed: a folder without __init__.py gives way to it."""
    paths = [one for one in sys.path if one and Path(one).absolute() not in places]
    return PathFinder.find_spec(name, paths) is not None
