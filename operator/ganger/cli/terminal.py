"""Writing to the terminal: data on stdout, messages on stderr, and nothing from a cluster that the terminal would obey.

A pod, a message or a name may carry escape sequences that rewrite the screen or the clipboard. They are shown, not
sent.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import IO

COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bold": 1, "dim": 2}
WORKER_COLOURS = ("cyan", "magenta", "yellow", "blue", "green")
PHASE_COLOURS = {
    "Complete": "green",
    "Running": "green",
    "Failed": "red",
    "Restarting": "yellow",
    "Exporting": "cyan",
    "Pending": "yellow",
    "Starting": "cyan",
    "Suspended": "dim",
}
# C0 and C1 controls but the tab, and the marks that reverse the direction of text (CVE-2021-42574).
_DANGEROUS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PAINT = re.compile("\x1b\\[[0-9;]*m")


def escape(text: str) -> str:
    """Return the text with every control character made visible; a line stays a line."""
    return _DANGEROUS.sub(lambda match: _visible(match.group()), text)


def log_line(text: str) -> str:
    """Return one line of a log: without colours, of a line that overwrites itself the last state, the rest escaped."""
    plain = _PAINT.sub("", text)
    if "\r" in plain:
        plain = next((part for part in reversed(plain.split("\r")) if part), "")
    return escape(plain)


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Terminal:
    """The two streams of a command. coloured: by hand, by NO_COLOR and FORCE_COLOR, else where stdout is a terminal."""

    def __init__(self, *, environ: Mapping[str, str] | None = None, out: IO[str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._out = out
        self.colour = "auto"  # or always or never, as --color says

    @property
    def out(self) -> IO[str]:
        """Where data goes; looked up late, since a test replaces sys.stdout."""
        return self._out if self._out is not None else sys.stdout

    @property
    def is_screen(self) -> bool:
        """Whether a picture may be drawn on stdout: a terminal that knows where the cursor is, and UTF-8."""
        encoding = (getattr(self.out, "encoding", None) or "").lower().replace("-", "")
        return self.out.isatty() and self._environ.get("TERM") not in ("dumb", "unknown") and encoding == "utf8"

    def coloured(self, stream: IO[str]) -> bool:
        """Whether colours may be written to the stream (no-color.org, force-color.org)."""
        if self.colour != "auto":
            return self.colour == "always"
        if self._environ.get("NO_COLOR"):
            return False
        if self._environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and self._environ.get("TERM") != "dumb"

    def paint(self, text: str, *styles: str, stream: IO[str] | None = None) -> str:
        """Return the text in these styles, or as it is where colours are not wanted."""
        if not styles or not self.coloured(stream if stream is not None else self.out):
            return text
        return f"\x1b[{';'.join(str(COLOURS[style]) for style in styles)}m{text}\x1b[0m"

    def phase(self, phase: str) -> str:
        """Return a phase in its colour."""
        colour = PHASE_COLOURS.get(phase)
        return self.paint(phase, colour) if colour else phase

    def data(self, text: str) -> None:
        """Write a line of data. The caller has escaped what came from a cluster."""
        self.out.write(text + "\n")
        self.out.flush()

    def message(self, text: str, *styles: str) -> None:
        """Write a line for people."""
        sys.stderr.write(self.paint(text, *styles, stream=sys.stderr) + "\n")
        sys.stderr.flush()
