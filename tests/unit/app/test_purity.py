"""What the operator's process loads: each megabyte here is paid for in every cluster, all day."""

import subprocess
import sys

import pytest

from ganger_dev.pki import Authority

# The official client alone is more than the rest of the process; the others belong to the CLI, the trainer or tools.
FOREIGN = (
    "kubernetes", "torch", "numpy", "pydantic", "urllib3", "rich", "click", "ganger_trainer", "ganger.cli",
    "cryptography", "ganger_dev", "pytest",
)  # fmt: skip
LOADED = f"print(*sorted(name for name in {FOREIGN!r} if name in sys.modules))"
IN_A_POD = """
import asyncio, os, sys
from pathlib import Path
os.environ["KUBERNETES_SERVICE_HOST"] = "127.0.0.1"
os.environ.pop("KUBECONFIG", None)
import ganger.app.__main__ as app
from ganger.kube import access
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.app.settings import read
access.in_cluster.__defaults__ = (Path(sys.argv[1]), os.environ)

async def main():
    metrics, gate = app.OperatorMetrics(), WriteGate()
    async with HttpCluster(await access.find(), gate=gate) as cluster:
        app.Process(read({}), cluster, gate, metrics)
        print(await cluster.access.token.header())

asyncio.run(main())
"""


def python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert "" == done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("module", ["ganger.app.process", "ganger.app.__main__"])
def test_the_operator_loads_neither_torch_nor_the_generated_client(module):
    assert [""] == python(f"import sys, {module}\n{LOADED}")


def test_access_from_inside_a_pod_loads_neither_of_them(tmp_path):
    (tmp_path / "ca.crt").write_text(Authority.load(tmp_path / "pki").own.certificate.read_text())
    (tmp_path / "token").write_text("t")

    assert ["Bearer t", ""] == python(IN_A_POD + LOADED, str(tmp_path))
