"""A headless Chromium that opens a page once: a picture of it, and its document as it was then."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ganger_dev import system
from ganger_dev.errors import DevError
from ganger_dev.paths import below_cache

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_PATIENCE = 120  # seconds; a large board takes 3
# Chromium's own clock, in milliseconds: it runs as fast as the page has nothing to wait for.
_PAGE_TIME = 20_000


def find() -> Path | None:
    """Return the Chromium of this machine, or None."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def ensure() -> Path:
    """Return the Chromium of this machine, installing Debian's package where it is missing and we are root.

    Raises DevError where it can be neither found nor installed.
    """
    found = find()
    if found is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            fix = "Install Chromium with your package manager (Debian: apt-get install chromium) and run this again."
            raise DevError("no Chromium to draw with", f"none of {', '.join(NAMES)} is on PATH", fix)
        system.ensure_packages("chromium")
        found = find()
    if found is None:
        raise DevError("no Chromium to draw with", "the package chromium brought none", f"Put one of {NAMES} on PATH.")
    return found


def command(program: Path, url: str, picture: Path, *, width: int, height: int, profile: Path, root: bool) -> list[str]:
    """Return the words of the call. Pure.

    root: whether we are root, as whom Chromium refuses to start with its sandbox; the page is our own.
    """
    words = [str(program), "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    words += ["--no-sandbox"] if root else []
    words += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--force-device-scale-factor=1"]
    return [*words, f"--virtual-time-budget={_PAGE_TIME}", f"--screenshot={picture}", "--dump-dom", url]


def shoot(url: str, picture: Path, *, width: int, height: int) -> str:
    """Write a PNG of `width` x `height` pixels of the page to `picture` and return its document as HTML.

    Raises DevError where Chromium cannot be had, fails, hangs, or writes nothing.
    """
    program = ensure()
    picture.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="chromium-", dir=below_cache("tmp")) as profile:
        words = command(program, url, picture.resolve(), width=width, height=height, profile=Path(profile),
                        root=os.geteuid() == 0)  # fmt: skip
        try:
            result = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            why = f"no picture within {_PATIENCE} s"
            raise DevError("Chromium hangs", why, "Run it again on a less busy machine.") from error
    if result.returncode != 0 or not picture.exists():
        why = (result.stderr.strip() or "it said nothing").splitlines()[-1]
        raise DevError(f"{program} drew nothing", why, "Try it by hand: chromium --headless=new --screenshot URL.")
    return result.stdout
