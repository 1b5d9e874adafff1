"""Lines of a screen: styled pieces of text, each line cut to the width with an ellipsis. Loads rich."""

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.text import Text

from ganger.cli.terminal import PHASE_COLOURS, escape

Piece = tuple[str, str]  # text and style; "" is the plain style
LABEL_WIDTH = 12
FULL, REST = "█", "░"


def line(*pieces: str | Piece) -> Text:
    """Return one line. What a terminal would obey is shown in it, not sent."""
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    for piece in pieces:
        content, style = piece if isinstance(piece, tuple) else (piece, "")
        text.append(escape(content), style or None)
    return text


def section(label: str, lines: Iterable[Text]) -> list[Text]:
    """Return the lines with the label before the first and as much room before the others."""
    return [
        Text.assemble(
            (f"{label if number == 0 else '':<{LABEL_WIDTH}}", "dim"), each, no_wrap=True, overflow="ellipsis", end=""
        )
        for number, each in enumerate(lines)
    ]


def paragraph(text: str, width: int, style: str = "") -> list[Text]:
    """Return a sentence in as many lines as it needs; a word that is longer than the width is broken."""
    return [line((part, style)) for part in textwrap.wrap(escape(" ".join(text.split())), max(1, width)) or [""]]


def phase(name: str) -> Piece:
    """Return a phase in its colour."""
    return name, PHASE_COLOURS.get(name, "")


def bar(share: float, width: int) -> str:
    """Return a bar of `width` characters, filled to the share of 0 to 1."""
    filled = min(width, max(0, round(share * width)))
    return FULL * filled + REST * (width - filled)


def page(lines: Sequence[Text], width: int, height: int | None) -> Group:
    """Return the lines as one thing to draw, each cut to the width and no more of them than fit."""
    shown = list(lines if height is None else lines[:height])
    for each in shown:
        each.rstrip()
        each.truncate(width, overflow="ellipsis")
        each.end = "\n"
    return Group(*shown)


def wrapped(pieces: Sequence[Piece], width: int, gap: str = "  ") -> list[Text]:
    """Return the pieces in as many lines as they need, none of them broken."""
    rows: list[list[Piece]] = [[]]
    room = width
    for content, style in pieces:
        if rows[-1] and len(content) + len(gap) > room:
            rows.append([])
            room = width
        before = gap if rows[-1] else ""
        rows[-1].append((before + content, style))
        room -= len(before) + len(content)
    return [line(*row) for row in rows]
