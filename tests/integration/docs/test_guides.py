"""Every command of the guides, typed into a real shell: here, on a real API server, and in the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganger_dev import binaries
from guides import GUIDES, ROOT, blocks, unsaid
from shells import installed

pytestmark = pytest.mark.integration


@pytest.fixture
def shell(control_plane, crd, namespace, tmp_path):
    """Run a command line in bash as a person would; return its exit code and what it said."""
    programs, folder = tmp_path / "programs", tmp_path / "work"
    programs.mkdir()
    folder.mkdir()
    for name in ("helm", "kubectl"):
        if not binaries.path_of(name).exists():
            pytest.skip(f"{name} is not built: `make test` builds it, or `python -m ganger_dev.binaries {name}`")
        (programs / name).symlink_to(binaries.path_of(name))
    environment = installed(programs)
    config = yaml.safe_load(Path(control_plane.kubeconfig).read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    (programs / "kubeconfig").write_text(yaml.safe_dump(config))
    environment |= {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(str(ROOT / name) for name in ("operator", "jobs", "dev")) + ":.",
        "KUBECONFIG": str(programs / "kubeconfig"),
        "OMP_NUM_THREADS": "1",
    }

    def run(line: str, where: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=ROOT if where == "repository" else folder, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    run.folder = folder
    return run


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_does_what_it_says(guide, shell):
    typed = 0
    for block in blocks(guide):
        if block.kind == "file":
            (shell.folder / block.where).write_text(block.text)
        if block.kind != "run":
            continue
        for line, expected, lines in block.commands():
            code, output = shell(line, block.where)
            typed += 1

            assert expected == code, f"{guide.name}: $ {line}\n{output}"
            assert unsaid(lines, output) is None, f"{guide.name}: $ {line}\n{output}\nlacks {unsaid(lines, output)!r}"
    assert typed >= 5
