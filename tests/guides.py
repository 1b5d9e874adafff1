"""What the guides in docs/guides tell people to type, as data.

A comment above a block says what becomes of it: `<!-- run: PLACE -->`, `<!-- not run: REASON -->`, or
`<!-- file: NAME -->` for one that people save. In a console block a line with `$ ` is a command: it has to end with 0
or with what `# exit code N` behind it says, and the lines below it stand in its output, in this order.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PLACES = {"local", "cluster", "repository"}
_BLOCK = re.compile(r"(?:^<!-- ([a-z ]+): (.*?) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"#\s*exit code (\d+)$")


@dataclass
class Block:
    """One block. kind, where: of the comment above it, "" without one."""

    kind: str
    where: str
    language: str
    text: str

    def commands(self) -> list[tuple[str, int, list[str]]]:
        """Each command with its exit code and the lines of its output."""
        found: list[tuple[str, int, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                code = _CODE.search(line)
                found.append((line[2:], int(code[1]) if code else 0, []))
            else:
                found[-1][2].append(line)
        return found


def blocks(guide: Path) -> list[Block]:
    """The blocks of a guide, in its order."""
    return [Block(kind or "", where or "", *rest) for kind, where, *rest in _BLOCK.findall(guide.read_text())]


def unsaid(expected: list[str], output: str) -> str | None:
    """The first line that is not in the output behind those before it; None if all are."""
    position = 0
    for line in expected:
        if (at := output.find(line, position)) < 0:
            return line
        position = at + len(line)
    return None
