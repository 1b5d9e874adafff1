"""A Jupyter notebook as the text of a Python module: which cells, and what of them no module can be.

A notebook is JSON (nbformat 4): nothing of Jupyter is needed to read it, and outputs are never looked at. A line that
Python cannot read and that begins as a magic of IPython is one; a line of a text that begins so is not.
"""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ganger.cli.problem import Code, Problem
from ganger.cli.terminal import escape

MARK, SKIP = "# ganger: job", "# ganger: skip"
TAG, TAG_SKIP = "job", "skip"
FILE_BYTES_MAX = 256 * 1024 * 1024  # outputs make a notebook big; beyond this it is something else
# What only changes how a notebook shows things or is edited: a job is none the worse without it.
HARMLESS = frozenset({"matplotlib", "load_ext", "reload_ext", "autoreload", "config", "pdb", "xmode", "precision"})
HARMLESS_CELL = frozenset({"time", "timeit", "capture", "prun"})
_MAGIC = re.compile(r"\s*(?P<sign>[%!?]+)\s*(?P<word>[\w.]*)")
_HELP = re.compile(r"[\w.\[\]'\" ]+\?{1,2}\s*$")
_ASSIGNED = re.compile(r"\s*[\w, ]+=\s*(?P<sign>[%!])(?P<word>\w*)")


class Cell(Struct, frozen=True):
    """One code cell. number: its place among all cells, from 1, as editors count them."""

    number: int
    source: str
    tags: frozenset[str] = frozenset()

    @property
    def is_marked(self) -> bool:
        """Whether it says that it belongs to the job."""
        return TAG in self.tags or _first_line(self.source) == MARK

    @property
    def is_skipped(self) -> bool:
        """Whether it says that it does not."""
        return TAG_SKIP in self.tags or _first_line(self.source) == SKIP


class Fault(Struct, frozen=True):
    """A line that no module can have. removed: it may be left out, and is."""

    cell: int
    line: int
    text: str
    removed: bool = False

    def __str__(self) -> str:
        """The sentence, with the place in front."""
        return f"cell {self.cell}, line {self.line}: {self.text}"


class _Metadata(Struct, frozen=True):
    tags: tuple[str, ...] = ()


class _Cell(Struct):
    cell_type: str = ""
    source: str | list[str] = ""
    metadata: _Metadata = _Metadata()


class _Notebook(Struct):
    cells: list[_Cell] | None = None
    nbformat: int = 0


def read(path: Path) -> list[Cell]:
    """Return the code cells of the file. Raises Problem where it is no notebook of format 4, and OSError."""
    body = path.read_bytes() if path.stat().st_size <= FILE_BYTES_MAX else b""
    try:
        found = msgspec.json.decode(body, type=_Notebook)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = escape(f"it is no JSON of that form: {error}")
        raise Problem(f"{path} is no notebook", why, "name a file that Jupyter has saved", code=Code.USAGE) from error
    if found.cells is None or found.nbformat < 4:
        why = f"it is of nbformat {found.nbformat or 'none'}, and 4 is read"
        fix = f"jupyter nbconvert --to notebook --nbformat 4 {path}"
        raise Problem(f"{path} cannot be used", why, fix, code=Code.USAGE)
    return [
        Cell(number, "".join(cell.source), frozenset(cell.metadata.tags))
        for number, cell in enumerate(found.cells, 1)
        if cell.cell_type == "code"
    ]


def chosen(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of the job: those that are marked where any is, else all that are not to be skipped."""
    marked = [cell for cell in cells if cell.is_marked]
    return marked or [cell for cell in cells if not cell.is_skipped]


def plain(cell: Cell) -> tuple[Cell, list[Fault]]:
    """Return the cell as Python alone, and what was in the way. What remains compiles, or a fault says why not."""
    lines = cell.source.splitlines()
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    faults: list[Fault] = []
    if first is not None and lines[first].lstrip().startswith("%%"):
        word = _word(lines[first])
        if word not in HARMLESS_CELL:
            text = f"%%{word} makes the cell something else than Python"
            return Cell(cell.number, "", cell.tags), [Fault(cell.number, first + 1, text)]
        faults.append(Fault(cell.number, first + 1, f"%%{word} is left out", removed=True))
        lines[first] = ""
    for _ in range(len(lines) + 1):
        source = "\n".join(lines)
        try:
            compile(source, "cell", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            index = (getattr(error, "lineno", None) or 1) - 1
            fault = _magic(cell.number, index, lines)
            if fault is None:
                faults.append(Fault(cell.number, index + 1, f"Python cannot read it: {_reason(error)}"))
                return Cell(cell.number, "", cell.tags), faults
            faults.append(fault)
            # In its place something that does nothing: it may be all that a block has.
            lines[index] = lines[index][: len(lines[index]) - len(lines[index].lstrip())] + "pass"
        else:
            return Cell(cell.number, source, cell.tags), faults
    return Cell(cell.number, "", cell.tags), faults


def uses_of_the_notebook(cell: Cell) -> list[Fault]:
    """Return the lines of a plain cell that call what only a notebook has."""
    tree = ast.parse(cell.source)
    return [
        Fault(cell.number, node.lineno, "get_ipython() is there in a notebook only")
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "get_ipython"
    ]


def joined(cells: Sequence[Cell], source: str) -> str:
    """Return the module: the cells one behind the other, each under a comment that names it. source: the file."""
    parts = [f"# Made from {source}: every part is headed by the cell that it comes from.\n"]
    parts += [f"\n# --- cell {cell.number} ---\n{cell.source.rstrip()}\n" for cell in cells if cell.source.strip()]
    return "".join(parts)


def _magic(number: int, index: int, lines: Sequence[str]) -> Fault | None:
    """Return the fault of a line that is IPython's and not Python's, None where it is simply wrong."""
    if index >= len(lines):
        return None
    line = lines[index]
    if match := _ASSIGNED.match(line):
        return Fault(number, index + 1, f"{match['sign']}{match['word']} runs in a notebook only")
    if _HELP.fullmatch(line):
        return Fault(number, index + 1, f"{line.strip()} is left out", removed=True)
    if (match := _MAGIC.match(line)) is None:
        return None
    word = match["word"]
    if (match["sign"] == "%" and word in HARMLESS) or match["sign"].startswith("?"):
        return Fault(number, index + 1, f"{match['sign']}{word} is left out", removed=True)
    return Fault(number, index + 1, f"{match['sign']}{word} runs in a notebook only")


def _word(line: str) -> str:
    match = _MAGIC.match(line)
    return match["word"] if match is not None else ""


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _first_line(source: str) -> str:
    return next((line.strip() for line in source.splitlines() if line.strip()), "")
