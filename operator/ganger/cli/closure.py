"""One function of a notebook with all that it needs of the other cells, and nothing else. Pure.

What is needed is found by name: the statements at the top of cells that bind a name which the function reads, and those
that they need in turn. What only looks at something (a plot, a print, a call) binds nothing and stays behind.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ganger.cli.notebook import Cell, Fault

STAR = "*"
_KNOWN = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}


class _Statement(Struct, frozen=True):
    cell: int
    line: int
    text: str
    binds: frozenset[str]
    reads: frozenset[str]


def closure(cells: Sequence[Cell], name: str) -> tuple[list[Cell], list[Fault]]:
    """Return the cells with only what `name` needs, in their order, and a fault for each name that nothing binds.

    No cell at all is returned where no cell defines `name`.
    """
    statements = [statement for cell in cells for statement in _statements(cell)]
    by_name: dict[str, list[_Statement]] = {}
    for statement in statements:
        for bound in statement.binds:
            by_name.setdefault(bound, []).append(statement)
    if name not in by_name:
        return [], []
    kept: list[_Statement] = []
    wanted, seen = [name], {name}
    faults: list[Fault] = []
    while wanted:
        for statement in by_name[wanted.pop()]:
            if statement in kept:
                continue
            kept.append(statement)
            for read in sorted(statement.reads - seen):
                seen.add(read)
                if read in by_name:
                    wanted.append(read)
                elif read not in _KNOWN and STAR in by_name:
                    wanted.append(STAR)  # `from x import *` may bind anything
                elif read not in _KNOWN:
                    faults.append(Fault(statement.cell, statement.line, f"{read} is bound by no cell of the notebook"))
    parts = {cell.number: [one.text for one in statements if one.cell == cell.number and one in kept] for cell in cells}
    return [Cell(number, "\n\n".join(texts)) for number, texts in parts.items() if texts], faults


def _statements(cell: Cell) -> Iterator[_Statement]:
    lines = cell.source.splitlines()
    body = ast.parse(cell.source).body
    shared = Counter(number for node in body for number in {node.lineno, node.end_lineno})
    for node in body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if shared[node.lineno] > 1 or shared[node.end_lineno] > 1:
            text = ast.unparse(node)  # several statements on one line
        binds = frozenset(() if _is_main(node) else _binds(node))
        yield _Statement(cell.number, node.lineno, text, binds, frozenset(_free(node)))


def _is_main(node: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`, which the job has of its own."""
    return isinstance(node, ast.If) and any(
        isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test)
    )


def _binds(node: ast.AST) -> Iterator[str]:
    """Yield the names that it binds where it stands: not those inside of functions."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield node.id
    elif not isinstance(node, ast.Lambda):
        if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        if isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest
        for child in ast.iter_child_nodes(node):
            yield from _binds(child)


def _free(node: ast.AST) -> set[str]:
    """Return the names that are read below the node and not bound by the functions on the way."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return _free_of_function(node)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        inner: set[str] = set().union(*(_free(child) for child in ast.iter_child_nodes(node)))
        targets = {
            one.id for generator in node.generators for one in ast.walk(generator.target) if isinstance(one, ast.Name)
        }
        return inner - targets
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load | ast.Del) else set()
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return {node.target.id} | _free(node.value)
    found: set[str] = set().union(*(_free(child) for child in ast.iter_child_nodes(node)))
    if isinstance(node, ast.ClassDef):
        found -= {one for child in node.body for one in _binds(child)}
        found -= {one.name for one in getattr(node, "type_params", ())}
    return found


def _free_of_function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    arguments = node.args
    own = {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    own |= {one.arg for one in (arguments.vararg, arguments.kwarg) if one is not None}
    outside: set[str] = set().union(
        *(_free(one) for one in (*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)))
    )
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    if not isinstance(node, ast.Lambda):
        own |= {one for statement in body for one in _binds(statement)} - _globals(node)
        annotations = [one.annotation for one in ast.walk(arguments) if isinstance(one, ast.arg) and one.annotation]
        for outer in (*node.decorator_list, *annotations, *([node.returns] if node.returns is not None else ())):
            outside |= _free(outer)
    own |= {one.name for one in getattr(node, "type_params", ())}
    inside: set[str] = set().union(*(_free(child) for child in body))
    return outside | (inside - own)


def _globals(node: ast.AST) -> set[str]:
    return {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
