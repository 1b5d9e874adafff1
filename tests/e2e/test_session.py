"""Dev sessions as people use them: a browser and ssh, through port-forwards, into pods that the operator made."""

import base64
import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from apiclient import wait_for
from ganger_dev import binaries, chromium, images

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SESSIONS = "/apis/ganger.dev/v1alpha1/namespaces/{namespace}/devsessions"
PICTURE = ROOT / "docs" / "images" / "session.png"
# What is written into the notebook, cell by cell.
NOTEBOOK = """\
from ganger_trainer import from_job

job = from_job()
job, job.steps()
# %%
import torch

model = job.model()  # of the newest checkpoint, every byte verified; job.model("best"), job.model(800)
with torch.inference_mode():
    print(job.task.evaluate(model, job.config))
# %%
from IPython.display import HTML

def picture(x_F, guess):
    dots = "".join(f'<rect x="{i % 8}" y="{i // 8}" width="1" height="1" fill-opacity="{dark}"/>'
                   for i, dark in enumerate(x_F.tolist()))
    svg = f'<svg viewBox="0 0 8 8" width="72" fill="#1a237e">{dots}</svg>'
    return f'<div style="display:inline-block;text-align:center;margin:8px">{svg}<br><b>{guess}</b></div>'

x_NF, _ = job.task.data(job.config)
guesses = model(x_NF[:10]).argmax(1).tolist()
HTML("".join(picture(x_F / x_NF.max(), guess) for x_F, guess in zip(x_NF, guesses)))
"""


class Sessions:
    """The sessions of a namespace: a job that trains, one that was forked from it, and one that nobody uses."""

    def __init__(self, namespace, keys: Path) -> None:
        self.namespace = namespace
        self.keys = keys
        self.path = SESSIONS.format(namespace=namespace.name)

    def apply(self, name: str, **spec) -> None:
        """Apply a session with the image of this tree."""
        spec = {"image": images.session().name, "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}}} | spec
        manifest = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": name}, "spec": spec}
        self.namespace.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def status(self, name: str) -> dict:
        return self.namespace.api.get(f"{self.path}/{name}").get("status", {})

    def wait(self, name: str, phase: str, seconds: float) -> dict:
        """Wait for a phase of the session and return its status."""

        def there():
            status = self.status(name)
            assert status.get("phase") in (phase, "Pending", "Starting", "Running", "Stopping"), (
                f"{status}\n{self.log(name)}"
            )
            return status if status["phase"] == phase else None

        return wait_for(there, seconds, f"{name}: {phase}, and not {self.status(name)}")

    def log(self, name: str) -> str:
        """What the session's pod said, "" where it said nothing."""
        return self.namespace.kubectl("logs", "-l", f"ganger.dev/session={name}", "--tail=-1", "--ignore-errors")

    def token(self, name: str) -> str:
        """The token, as an administrator may read it."""
        path = f"/api/v1/namespaces/{self.namespace.name}/secrets/{self.status(name)['secretName']}"
        return base64.b64decode(self.namespace.api.get(path)["data"]["token"]).decode()

    @contextmanager
    def forwarded(self, name: str, port: int):
        """A port of this machine that leads to the session's, while it is used."""
        embedded = self.namespace.installed.embedded
        command = [str(binaries.path_of("kubectl")), f"--kubeconfig={embedded.kubeconfig}", "-n", self.namespace.name,
                   "port-forward", f"pod/{self.status(name)['pod']}", f":{port}"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                said = process.stdout.readline()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
                assert found, said or process.stderr.read()
                yield int(found[1])
            finally:
                process.kill()

    def ssh(
        self, port: int, command: str, *options: str, user: str = "ganger", key: str = "key"
    ) -> subprocess.CompletedProcess:
        """Run a command in the forked session, whose host key is the one that its log tells."""
        host_key = re.search(r"^host-key (.+)$", self.log("fork"), re.MULTILINE)[1]
        (self.keys / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        known = f"UserKnownHostsFile={self.keys}/known"
        wanted = ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", known, f"Port={port}")
        settings = [word for option in wanted for word in ("-o", option)]
        words = ["ssh", "-F", "none", *settings, "-i", f"{self.keys}/{key}", *options, f"{user}@127.0.0.1", command]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sessions(shared_namespace, tmp_path_factory):
    """A job that trains on, and two sessions that run."""
    keys = tmp_path_factory.mktemp("keys")
    for name in ("key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(keys / name)], check=True)
    job = yaml.safe_load((ROOT / "jobs" / "examples" / "digits" / "job.yaml").read_text())
    job["spec"] |= {"workers": 1}
    job["spec"]["config"] |= {"epochs": 4000}
    found = Sessions(shared_namespace, keys)
    found.apply("forgotten", idleSeconds=60, storage={"size": "1Gi"})
    shared_namespace.apply(job)
    shared_namespace.checkpoint("digits", 100, timeout=120)
    found.apply("fork", fromJob="digits", ssh={"authorizedKeys": [(keys / "key.pub").read_text().strip()]})
    for name in ("forgotten", "fork"):
        found.wait(name, "Running", 90)
    return found


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = driver.chromium.launch(executable_path=str(chromium.ensure()), args=arguments)
        yield launched
        launched.close()


def notebook(cells) -> dict:
    """A notebook with these cells, not yet run."""
    made = [
        {"cell_type": "code", "source": text.strip(), "metadata": {}, "outputs": [], "execution_count": None}
        for text in cells
    ]
    title = {"cell_type": "markdown", "source": "## What has *digits* learned so far?", "metadata": {}}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"cells": [title, *made], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def open_notebook(browser, port: int, token: str, name: str, cells):
    """Log in with the token as a person does, open a notebook of these cells and run them; return the page."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"http://127.0.0.1:{port}/login")
    page.fill("input[name=password]", token)
    page.click("button[type=submit]")
    page.wait_for_url("**/lab**")
    body = {"type": "notebook", "content": notebook(cells)}
    headers = {"Authorization": f"token {token}"}
    made = page.request.put(f"http://127.0.0.1:{port}/api/contents/{name}", data=body, headers=headers)
    assert 201 == made.status, made.text()
    page.goto(f"http://127.0.0.1:{port}/lab/tree/{name}")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=60_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    page.wait_for_selector(f".jp-InputPrompt:has-text('[{len(cells)}]:')", timeout=90_000)
    return page


@pytest.fixture(scope="module")
def forgotten_tab(sessions, browser):
    """A tab that was used once, when the tests of this file began, and stays open over all of them."""
    with sessions.forwarded("forgotten", 8888) as port:
        page = open_notebook(browser, port, sessions.token("forgotten"), "idle.ipynb", ["1 + 1"])
        yield page
        page.close()


def test_a_forked_session_opens_the_checkpoint_of_the_job_that_trains_on(sessions, browser, forgotten_tab, tmp_path):
    picture = PICTURE if os.environ.get("GANGER_GOLDEN") == "write" else tmp_path / "session.png"
    with sessions.forwarded("fork", 8888) as port:
        page = open_notebook(browser, port, sessions.token("fork"), "digits.ipynb", NOTEBOOK.split("# %%\n"))
        page.wait_for_selector(".jp-OutputArea-output svg")
        said = page.inner_text(".jp-Notebook")
        page.screenshot(path=picture)
        page.close()

    assert "<job digits: task ganger_trainer.examples.digits:task, checkpoints in /checkpoints>" in said
    assert 0.9 < float(re.search(r"'accuracy': ([0-9.]+)", said)[1])
    assert "Running" == sessions.namespace.status("digits")["phase"]


def test_ssh_with_the_key_works_and_with_a_password_or_as_root_does_not(sessions):
    with sessions.forwarded("fork", 2222) as port:
        commands = ('echo "$GANGER_JOB"; id -u', 'bash -lc "command -v python git"', "pwd", "touch /checkpoints/mine")
        inside = sessions.ssh(port, "; ".join(commands))
        terminal = sessions.ssh(port, "tty", "-tt")
        password = sessions.ssh(port, "id", "-o", "PreferredAuthentications=password,keyboard-interactive")
        root = sessions.ssh(port, "id", user="root")

    expected = ["digits", "1000", "/opt/venv/bin/python", "/usr/bin/git", "/workspace"]
    assert expected == inside.stdout.splitlines(), inside
    assert "Read-only file system" in inside.stderr
    assert "/dev/pts/0" == terminal.stdout.strip(), terminal
    for refused in (password, root):
        assert (255, True) == (refused.returncode, "Permission denied (publickey)" in refused.stderr), refused


def test_the_token_is_nowhere_but_in_its_secret(sessions):
    """Objects, events, logs, and what the processes of the container show; it was used just before."""
    namespace, token = sessions.namespace, sessions.token("fork")
    kinds = "pods,events,configmaps,devsessions,trainingjobs,networkpolicies,persistentvolumeclaims,services"
    with sessions.forwarded("fork", 2222) as port:
        processes = sessions.ssh(
            port, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; env; find /tmp -type f -exec cat {} +"
        )
    said = {
        "objects": namespace.kubectl("get", kinds, "-o", "yaml"),
        "log": sessions.log("fork"),
        "operator": namespace.installed.kubectl(
            "-n", "ganger-system", "logs", "-l", "app.kubernetes.io/name=ganger", "--tail=-1"
        ),
        "processes": processes.stdout,
    }

    assert 32 <= len(token)
    assert ["GANGER_SESSION" in said["processes"], "host-key" in said["log"], "fork-dev-0" in said["objects"]] == [
        True
    ] * 3
    assert [] == [where for where, text in said.items() if token in text]


def test_a_session_that_runs_tells_when_it_was_used_and_takes_changed_keys_at_the_next_login(sessions):
    status = sessions.status("fork")
    keys = {"authorizedKeys": [(sessions.keys / "other.pub").read_text().strip()]}
    sessions.namespace.kubectl("patch", "devs", "fork", "--type=merge", "-p", json.dumps({"spec": {"ssh": keys}}))
    with sessions.forwarded("fork", 2222) as port:
        wait_for(lambda: sessions.ssh(port, "true", key="other").returncode == 0, 120, "the new key opens")
        removed = sessions.ssh(port, "true")

    assert (255, True) == (removed.returncode, "Permission denied (publickey)" in removed.stderr), removed
    assert ("Running", True) == (status["phase"], status["startTime"] <= status["lastActivityTime"])
    assert status["pod"] == sessions.status("fork")["pod"]


def test_a_session_with_an_open_tab_that_nobody_uses_is_culled(sessions, forgotten_tab):
    status = sessions.wait("forgotten", "Culled", 120)

    assert "nothing was done for 60 s" in status["message"]
    assert not forgotten_tab.is_closed()
    assert "idle.ipynb" in forgotten_tab.content()
    pods = sessions.namespace.api.items(f"{sessions.namespace.pods_path}?labelSelector=ganger.dev/session=forgotten")
    assert [] == [pod for pod in pods if pod["status"]["phase"] == "Running"]
    claim = sessions.namespace.api.get(f"{sessions.namespace.api_claims}/forgotten-workspace")
    assert "Bound" == claim["status"]["phase"]
    assert "Running" == sessions.status("fork")["phase"]
