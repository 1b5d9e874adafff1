"""`compile: true` needs a C or C++ compiler on the worker; without one, it is said before the training begins.

torch.compile writes C++ for a CPU, and for a GPU Triton builds a C launcher for each kernel, against Python's headers.
A slim image has neither, and the error would come with the first step, from deep inside torch, once for each restart.
"""

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from ganger_trainer.failures import UserError


def require(environ: Mapping[str, str], device: str) -> None:
    """Return if what torch.compile runs on a `device`, cpu or cuda, is there.

    Raises UserError (BAD_CONFIG, LibraryMissing).
    """
    path = environ.get("PATH", "")
    if device == "cpu":
        wanted, names, headers = "g++", [environ.get("CXX", "g++")], []
    else:
        wanted, names = "gcc and python3-dev", [environ.get("CC", "gcc"), "clang"]
        headers = [Path(sysconfig.get_paths()["include"]) / "Python.h"]
    if any(shutil.which(name, path=path) for name in names) and all(header.is_file() for header in headers):
        return
    raise UserError(
        "LibraryMissing",
        f"config: compile needs {wanted}, which the image does not have: build one FROM it that does, or set compile: "
        "false",
    )
