"""Real shells with the programs of the CLI on their PATH, as pip would install them."""

import os
import re
import sys
from pathlib import Path

import pexpect

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "ganger": "-m ganger.cli",
    "kubectl-ganger": "-m ganger.cli",
    "kubectl_complete-ganger": "-c 'from ganger.cli.completion import kubectl_main; kubectl_main()'",
}


def installed(folder: Path, **more: str) -> dict[str, str]:
    """Write the programs into the folder; return an environment that finds them, and else only the system's."""
    for name, call in PROGRAMS.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
        path.chmod(0o755)
    own = {"PATH": f"{folder}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "operator"), "HOME": str(folder)}
    return dict(os.environ) | own | more


def tab(environment: dict[str, str], line: str) -> str:
    """Return what a real, interactive bash makes of the line when the tab key is hit behind it."""
    bash = pexpect.spawn("bash", ["--norc", "--noprofile", "-i"], env=environment, encoding="utf-8", timeout=60)
    try:
        bash.sendline("bind 'set bell-style none'; source <(ganger completion bash); echo SOUR''CED")
        bash.expect("SOURCED")
        # Then to the begin of the line, which is made an argument of echo.
        bash.send(f"{line}\t\x01echo 'LI''NE=' \r")
        bash.expect(re.compile(r"LINE= ([^\r]*)\r"))
        return str(bash.match[1])
    finally:
        bash.close(force=True)
