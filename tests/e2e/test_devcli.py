"""`ganger dev`, `ganger shell` and `--from-notebook` on a real cluster, and no secret of theirs where none belongs."""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from apiclient import wait_for
from ganger_dev import images

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SYSTEM = "ganger-system"
CANARY = f"canary-{secrets.token_hex(16)}"
# What only says of itself that it is public.
PUBLIC = ("ca.crt", "tls.crt")
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1, "source": text}
        for text in (
            "%matplotlib inline\nimport os\nimport torch",
            "!pip install something",
            "def main():\n    print('sum', float(torch.ones(3).sum()), 'of worker', os.environ['GANGER_WORKER'])",
            "main()",
        )
    ],
}


class Cli:
    """`ganger` as a person calls it, in a namespace with a job that trains on and a Secret that it is given."""

    def __init__(self, namespace, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder

    def start(self, *arguments: str) -> subprocess.Popen:
        return self.namespace.installed.ganger("-n", self.namespace.name, *arguments)

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Run a command to its end and return both its outputs."""
        process = self.start(*arguments)
        out, err = process.communicate(stdin, timeout=150)
        assert code == process.returncode, out + err
        return out + err

    def session(self) -> dict:
        return json.loads(self.namespace.kubectl("get", "devs", "try", "-o", "json"))

    def wait(self, start: int, phase: str = "Running") -> None:
        def there():
            status = self.session().get("status", {})
            return (status.get("start"), status.get("phase")) == (start, phase)

        wait_for(there, 90, f"start {start} is {phase}")

    def ssh(self, *command: str, code: int = 0) -> str:
        return self("dev", "ssh", "try", "-i", str(self.folder / "key"), "--", *command, code=code)


@pytest.fixture(scope="module")
def cli(shared_namespace, tmp_path_factory):
    """A job of one worker and a session forked from it, both given the Secret `canary`."""
    folder = tmp_path_factory.mktemp("devcli")
    found = Cli(shared_namespace, folder)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "key")], check=True)
    shared_namespace.kubectl("create", "secret", "generic", "canary", f"--from-literal=CANARY={CANARY}")
    job = yaml.safe_load((ROOT / "jobs" / "examples" / "digits" / "job.yaml").read_text())
    job["spec"] |= {"workers": 1, "envFrom": [{"secretRef": {"name": "canary"}}]}
    job["spec"]["config"] |= {"epochs": 4000}
    shared_namespace.apply(job)
    said = found("dev", "up", "try", "--from-job", "digits", "--image", images.session().name, "--cpu", "100m",
                 "--memory", "1Gi", "--ssh-key", str(folder / "key"), "--no-connect")  # fmt: skip
    assert "try runs" in said
    yield found
    found("dev", "delete", "try", "-y")


@pytest.fixture
def connected(cli):
    """`ganger dev connect`, its address and the token in it."""
    process = cli.start("dev", "connect", "try")
    address = process.stdout.readline().strip()
    match = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\S+)", address)
    assert match, address + process.stderr.read()
    yield process, match[1], match[2]
    process.kill()
    process.communicate()


def get(address: str, token: str) -> dict:
    asked = urllib.request.Request(f"{address}/api/status?token={token}")
    with urllib.request.urlopen(asked, timeout=90) as answer:
        return json.loads(answer.read())


def test_jupyter_answers_many_at_once_with_the_token_and_nobody_without(connected):
    _, address, token = connected

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(address, token), range(24)))

    assert [{"kernels"}] * 24 == [{"kernels"} & set(answer) for answer in answers]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(address, "")


def test_ssh_runs_commands_with_their_exit_code_and_the_host_block_lets_scp_in(cli):
    assert "digits" in cli.ssh("sh", "-c", "echo $GANGER_JOB; exit 5", code=5)

    config = cli.folder / "config"
    config.write_text(cli("dev", "ssh", "try", "-i", str(cli.folder / "key"), "--config"))
    data = os.urandom(1 << 20)
    (cli.folder / "sent").write_bytes(data)
    host = f"ganger-{cli.namespace.name}-try"
    env = os.environ | {"KUBECONFIG": str(cli.namespace.installed.embedded.kubeconfig), "PYTHONPATH": "operator"}
    for source, to in ((f"{cli.folder}/sent", f"{host}:/workspace/"), (f"{host}:/workspace/sent", f"{cli.folder}/got")):
        words = ["scp", "-q", "-o", "BatchMode=yes", "-F", str(config), source, to]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert 0 == done.returncode, done.stderr
    assert data == (cli.folder / "got").read_bytes()


def test_shell_runs_in_the_worker(cli):
    cli.namespace.wait_phase("digits", "Running")

    assert "worker 0\n" in cli("shell", "digits", "--", "sh", "-c", "echo worker $GANGER_WORKER; exit 4", code=4)
    assert "/checkpoints" in cli("shell", "digits", "--rank", "0", "--", "sh", "-c", "echo $GANGER_CHECKPOINT_DIR")


def test_a_new_shell_is_in_a_pod_of_its_own_with_the_jobs_checkpoints(cli):
    # Any: the job trains on beside the tests before, and keeps the last three.
    wait_for(lambda: "checkpoint" in cli.namespace.status("digits"), 60, "a checkpoint")
    inside = "echo of $GANGER_JOB; touch /checkpoints/mine; ls -d /checkpoints/step_*; exit 6"

    said = cli("shell", "digits", "--new", "--image", images.session().name, "--", "sh", "-c", inside, code=6)

    assert "of digits\n" in said
    assert "Read-only file system" in said
    assert "/checkpoints/step_" in said
    assert ["try"] == cli("dev", "ls", "-o", "name").replace("devsession.ganger.dev/", "").split()


def test_a_shell_of_a_manifest_is_in_a_pod_with_its_image_and_the_checkpoints_that_are_there(cli):
    path = cli.folder / "never.yaml"
    path.write_text(
        "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: digits}\n"
        f"spec: {{image: '{cli.namespace.installed.image}', task: m:t, config: {{lr: 0.5}}, "
        "checkpoint: {volume: {size: 1Gi}, everySteps: 10}}\n"
    )
    wait_for(lambda: "checkpoint" in cli.namespace.status("digits"), 60, "a checkpoint")
    inside = "echo with $GANGER_CONFIG; touch /checkpoints/mine; ls -d /checkpoints/step_*; exit 6"

    said = cli("shell", "-f", str(path), "--", "sh", "-c", inside, code=6)

    assert 'with {"lr":0.5}\n' in said
    assert "Read-only file system" in said
    assert "/checkpoints/step_" in said
    ours = ("get", "pods", "-l", "ganger.dev/shell-of=digits", "-o", "name")
    wait_for(lambda: "" == cli.namespace.kubectl(*ours).strip(), 30, "the pod goes with the shell")


def test_a_function_of_a_notebook_runs_as_a_job_and_its_code_goes_with_it(cli):
    path, base = cli.folder / "try.ipynb", cli.folder / "base.yaml"
    path.write_text(json.dumps(NOTEBOOK))
    base.write_text(
        "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: noted}\n"
        f"spec: {{image: '{cli.namespace.installed.image}', workers: 1, resources: {{limits: {{memory: 2Gi}}}}}}\n"
    )

    said = cli("submit", "--from-notebook", str(path), "--function", "main", "-f", str(base), "--watch")

    assert "sum 3.0 of worker 0" in said
    assert "cell 2, line 1: !pip runs in a notebook only and is left out" in said
    maps = cli.namespace.kubectl("get", "cm", "-l", "ganger.dev/job=noted", "-o", "name").split()
    assert 1 == len(maps)
    cli("delete", "noted", "-y")
    wait_for(lambda: not cli.namespace.kubectl("get", *maps, "--ignore-not-found"), 60, "the code is gone")


def test_a_connection_outlives_the_pod_and_ends_with_the_session(cli, connected):
    process, address, token = connected
    before = cli.ssh("cat", "/proc/sys/kernel/random/boot_id")
    cli.namespace.kubectl("delete", "pod", "try-dev-0", "--wait=true")
    cli.wait(1)

    assert {"kernels"} <= set(get(address, token))
    assert before == cli.ssh("cat", "/proc/sys/kernel/random/boot_id")  # another host key, and no question

    assert "goes with its pod" in cli("dev", "stop", "try")
    _, err = process.communicate(timeout=60)
    assert (0, True) == (process.returncode, "begin again with: ganger dev up try" in err)
    assert "try runs" in cli("dev", "up", "try", "--no-connect")


# --- the canary ---


def known_secrets(cli) -> dict[str, list[str]]:
    """What nobody may find, by what it is: of every Secret, and of the tokens that the kubelet gives to pods."""
    found: dict[str, list[str]] = {}
    for namespace in (cli.namespace.name, SYSTEM):
        listed = json.loads(cli.namespace.installed.kubectl("-n", namespace, "get", "secrets", "-o", "json"))
        for one in listed["items"]:
            for key, value in one.get("data", {}).items():
                text = base64.b64decode(value).decode(errors="replace")
                if key not in PUBLIC and len(text) >= 16:
                    found[f"{namespace}/{one['metadata']['name']}/{key}"] = _pieces(text)
    operator = cli.namespace.installed.operators()[0]["metadata"]["name"]
    for namespace, pod, file in (
        (SYSTEM, operator, "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        (cli.namespace.name, "digits-0-0", "/var/run/ganger/token"),
    ):
        process = cli.namespace.installed.container(namespace, pod)
        # Where /var/run leads to /run, as in Debian, the link would lead to that of this machine.
        root = Path(f"/proc/{process}/root")
        places = (root / file.lstrip("/"), root / file.removeprefix("/var/").lstrip("/"))
        token = next(place for place in places if place.exists()).read_text().strip()
        found[f"{pod}:{file}"] = [token.rpartition(".")[2]]  # its signature: the rest tells who it is about
    return found


def _pieces(text: str) -> list[str]:
    """Return pieces of a secret by which it is known, also where it is cut or quoted."""
    if "PRIVATE KEY" in text:
        # Of a key on a curve the first two lines hold the secret number; the third is public, as in certificates.
        return [line for line in text.splitlines() if "-----" not in line][:2]
    return [text] if len(text) < 200 else [text[1000:1060]]


def everything(cli) -> dict[str, str]:
    """Whatever the cluster, its processes and the command line show, by place."""
    installed, namespace = cli.namespace.installed, cli.namespace.name
    kinds = installed.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in kinds if kind != "secrets"]
    said = {"objects": installed.kubectl("get", ",".join(kinds), "-A", "-o", "yaml", "--ignore-not-found")}
    logs, pages = [], []
    for where in (namespace, SYSTEM):
        for pod in json.loads(installed.kubectl("-n", where, "get", "pods", "-o", "json"))["items"]:
            name, phase = pod["metadata"]["name"], pod["status"]["phase"]
            if phase != "Pending":
                logs.append(installed.kubectl("-n", where, "logs", name, "--all-containers", "--ignore-errors"))
            if phase == "Running" and (where == SYSTEM or name.startswith("digits-0")):
                page = f"/api/v1/namespaces/{where}/pods/{name}:{8080 if where == SYSTEM else 9095}/proxy/metrics"
                pages.append(installed.kubectl("get", "--raw", page))
    said |= {"logs": "\n".join(logs), "metrics": "\n".join(pages)}
    said["arguments"] = _of_processes("cmdline")
    commands = (
        ("list", "-o", "yaml"), ("status", "digits"), ("logs", "digits"),
        ("metrics", "digits"), ("dev", "ls", "-o", "yaml"), ("dev", "logs", "try"),
        ("dev", "ssh", "try", "--config"), ("dev", "up", "try", "--no-connect", "--debug"),
    )  # fmt: skip
    said["command line"] = "\n".join(cli(*command) for command in commands)
    bundle = cli.folder / "digits-report.tar.gz"
    cli("report", "digits", "--file", str(bundle))
    with tarfile.open(bundle) as files:
        members = [files.extractfile(member) for member in files if member.isfile()]
        said["report"] = "\n".join(member.read().decode(errors="replace") for member in members)
    return said


def _of_processes(file: str) -> str:
    """Return what the processes of this machine, those in the containers among them, show to others."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        try:
            found.append(path.read_bytes().decode(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it has ended meanwhile
    return "\n".join(found)


def test_known_secrets_are_nowhere_but_in_secrets(cli, connected):
    """The canary: what was planted is found everywhere it was planted, and the secrets nowhere."""
    _, address, token = connected
    get(address, token)
    cli.ssh("true")
    planted = f"planted-{secrets.token_hex(16)}"
    cli.namespace.kubectl("create", "configmap", "planted", f"--from-literal=x={planted}")
    cli("shell", "digits", "--", "sh", "-c", f"echo {planted} > /proc/1/fd/1")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", planted], stdin=subprocess.PIPE
    ) as own:
        known, said = known_secrets(cli), everything(cli)
        own.stdin.close()

    assert {CANARY, token} <= {piece for pieces in known.values() for piece in pieces}
    assert all(known.values()), known.keys()
    assert {"objects", "logs", "arguments", "command line", "report"} == {
        place for place, text in said.items() if planted in text
    }
    assert ["ganger_train_", "ganger_operator_"] == [
        name for name in ("ganger_train_", "ganger_operator_") if name in said["metrics"]
    ]
    assert [] == [
        (what, place)
        for what, pieces in known.items()
        for place, text in said.items()
        if any(p in text for p in pieces)
    ]
    # A worker's own environment has what envFrom gave it; nobody has a token there.
    environment = _of_processes("environ")
    assert CANARY in environment
    assert [] == [
        what for what, pieces in known.items() if CANARY not in pieces and any(piece in environment for piece in pieces)
    ]
