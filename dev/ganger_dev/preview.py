"""Pictures of the shipped boards without Grafana: its own components, bundled in the cache, drawn by a Chromium.

Nothing of this is shipped. The page's sources are in dev/preview; its libraries and the bundle never enter the tree.
"""

from __future__ import annotations

import functools
import hashlib
import html
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev import chromium
from ganger_dev.errors import DevError
from ganger_dev.images import files_below
from ganger_dev.paths import below_cache, locked, repository, require_free

WIDTH = 1600  # pixels of a picture
_SETTINGS = ("build.mjs", "tsconfig.json")  # beside the sources, what the build follows
CELL, GAP, HEADER = 30, 8, 56  # pixels; Grafana's grid, and what the page puts above it
_DOCUMENT = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0 }}</style>
<link rel="stylesheet" href="page.css"><div id="root"></div><script type="application/json" id="outcome"></script>
<script>window.previewInput = {data}</script><script type="module" src="page.js"></script>"""
_OUTCOME = re.compile(r'<script type="application/json" id="outcome">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a board: panels drawn, ids of those that say "No data", and what went wrong."""

    drawn: int
    empty: tuple[int, ...]
    problems: tuple[str, ...]


def sources() -> Path:
    """Return the folder of the page's sources."""
    return repository() / "dev" / "preview"


def page() -> Path:
    """Return where the page lies that is built from what the tree holds now, whether or not it is."""
    folder = below_cache("preview", _digest("package-lock.json"))
    return folder / f"page-{_digest('package-lock.json', *_SETTINGS, 'src')}"


def ensure_page() -> Path:
    """Return the folder of the built page, made anew when a source of it changed: 40 s the first time, then 10 s.

    Raises DevError where npm is missing, the libraries cannot be fetched, a type is wrong, or the build fails.
    """
    bundle = page()
    folder = bundle.parent
    with locked("preview"):
        if not (folder / ".installed").exists():
            require_free(folder, 1, "Grafana's components")
            print("fetching Grafana's components with npm (usually 25 s) ...", flush=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(sources() / name, folder)
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)
            (folder / ".installed").touch()
        if not bundle.exists():
            for name in _SETTINGS:
                shutil.copy(sources() / name, folder)
            shutil.rmtree(folder / "src", ignore_errors=True)
            shutil.copytree(sources() / "src", folder / "src")
            for old in folder.glob("page-*"):
                shutil.rmtree(old)
            _run(["npm", "run", "--silent", "build", "page-unfinished"], folder)
            (folder / "page-unfinished").rename(bundle)
    return bundle


def placed(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the board's panels with every row opened, what stands below an opened row moved down. Pure."""
    found: list[dict[str, Any]] = []
    below = 0
    for panel in sorted(board.get("panels", ()), key=lambda one: (one["gridPos"]["y"], one["gridPos"]["x"])):
        found.append(_moved(panel, below))
        inside = panel.get("panels") or []
        if panel["type"] == "row" and inside:
            start = panel["gridPos"]["y"] + 1 - min(one["gridPos"]["y"] for one in inside)
            found += [_moved(one, below + start) for one in inside]
            below += _bottom(inside) + start - panel["gridPos"]["y"] - 1
    return found


def height(panels: list[dict[str, Any]]) -> int:
    """Return the pixels that `panels` need from top to bottom. Pure."""
    return HEADER + _bottom(panels) * (CELL + GAP) + GAP


def document(data: Mapping[str, Any]) -> str:
    """Return the page that draws `data`, an Input of dev/preview/src/input.ts without its width. Pure."""
    text = json.dumps(dict(data) | {"width": WIDTH}, allow_nan=False)
    return _DOCUMENT.format(data=text.replace("<", "\\u003c"))


def outcome(dom: str) -> Outcome:
    """Return what the drawn page says of itself. Raises DevError where it never came that far."""
    match = _OUTCOME.search(dom)
    if match is None or not match[1]:
        fix = "Open the page in a browser with its console: the sources are in dev/preview."
        raise DevError("the page was not drawn to its end", "it left no outcome", fix)
    said = json.loads(html.unescape(match[1]))
    return Outcome(drawn=said["drawn"], empty=tuple(said["empty"]), problems=tuple(sorted(said["problems"])))


def draw(data: Mapping[str, Any], picture: Path) -> Outcome:
    """Draw one board, `data` as in `document`, to `picture`, a PNG. Raises DevError where nothing can be drawn."""
    return outcome(render(data, picture))


def render(data: Mapping[str, Any], picture: Path) -> str:
    """Draw as `draw` does and return the page's document as HTML. Raises DevError."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    tall = height(list(data["panels"]))
    with tempfile.TemporaryDirectory(prefix="preview-", dir=below_cache("tmp")) as name:
        folder = Path(name)
        for part in ensure_page().iterdir():
            (folder / part.name).symlink_to(part)
        (folder / "board.html").write_text(document(data))
        with _served(folder) as url:
            return chromium.shoot(f"{url}/board.html", picture, width=WIDTH, height=tall)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve `folder` on loopback for the body: a page from a file may load neither fonts nor icons."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _moved(panel: Mapping[str, Any], down: int) -> dict[str, Any]:
    return {**panel, "gridPos": {**panel["gridPos"], "y": panel["gridPos"]["y"] + down}}


def _bottom(panels: list[dict[str, Any]]) -> int:
    return max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels), default=0)


def _digest(*names: str) -> str:
    digest = hashlib.sha256()
    for path in files_below(sources(), names):
        digest.update(f"\0{path.relative_to(sources())}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _run(words: list[str], folder: Path) -> None:
    if shutil.which(words[0]) is None:
        fix = "Install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm) and run this again."
        raise DevError("the preview is not built", f"{words[0]} is not on PATH", fix)
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        why = (result.stderr.strip() or result.stdout.strip() or "no output")[-300:]
        raise DevError(f"`{' '.join(words)}` failed", why, f"Run it by hand in {folder}.")
