"""The environment of the loops that are measured beside ours: the developer's, and the packages of their lock."""

import subprocess
import sys
import sysconfig
import venv
from hashlib import sha256
from pathlib import Path

from ganger_dev.paths import below_cache, locked, repository

LOCK = repository() / "requirements" / "bench.lock"


def environment() -> Path:
    """Return its interpreter. The developer's own packages are seen from there, not copied, and stay as they are.

    Made once for each lock, below the cache. Raises subprocess.CalledProcessError where pip cannot install it.
    """
    folder = below_cache("bench") / sha256(LOCK.read_bytes()).hexdigest()[:12]
    python = folder / "bin" / "python"
    with locked("bench"):
        if not (folder / ".complete").exists():
            venv.create(folder, clear=True, with_pip=False, symlinks=True)
            site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
            (site / "developer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
            subprocess.run([*pip, "-r", LOCK], check=True)
            (folder / ".complete").touch()
    return python
