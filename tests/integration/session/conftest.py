"""The pod of a session as a plain process: user 1000 with an account, and terminals and process ids of its own."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ganger_dev import system
from ports import free_port

ROOT = Path(__file__).parents[3]
UID = 1000
USER = "ganger"
# What the image's build and a container's runtime do.
POD = """\
set -eu
mount --bind "$POD/passwd" /etc/passwd
mount --bind "$POD/group" /etc/group
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
mount --bind /dev/pts/ptmx /dev/ptmx
cd "$POD/workspace"
exec setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs "$@"
"""


PYTHON = (sys.prefix, sys.base_prefix, str(ROOT))


def uncovered() -> str:
    """Return shell lines that let user 1000 read Python and the sources where they lie in a home of root's."""
    lines = []
    for top in sorted({f"/{Path(path).parts[1]}" for path in PYTHON if not Path(path).parents[-2].stat().st_mode & 1}):
        lines += [f'mount --rbind {top} "$POD/real"', f"mount -t tmpfs -o mode=755 tmpfs {top}"]
        for path in (path for path in PYTHON if path.startswith(f"{top}/")):
            lines += [f"mkdir -p {path}", f'mount --bind "$POD/real{path.removeprefix(top)}" {path}']
    return "\n".join(lines)


def public_key(folder: Path, name: str, *arguments: str) -> str:
    """Make a key pair in the folder and return its public half."""
    command = ["ssh-keygen", "-q", "-N", "", "-C", name, "-f", str(folder / name), *(arguments or ("-t", "ed25519"))]
    subprocess.run(command, check=True)
    return (folder / f"{name}.pub").read_text()


@dataclass
class Pod:
    """A session on ports of its own. Its folder holds the workspace, the secret, and what it said."""

    folder: Path
    jupyter: bool = True
    ssh: bool = True
    environ: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    process: subprocess.Popen | None = None

    def start(self) -> "Pod":
        """Start the supervisor."""
        self.jupyter_port, self.ssh_port, self.health_port = free_port(), free_port(), free_port()
        for name in ("workspace", "secret", "tmp", "real", "keys"):
            (self.folder / name).mkdir(exist_ok=True)
        accounts = f"root:x:0:0::/root:/bin/bash\n{USER}:x:{UID}:{UID}::{self.folder}/workspace:/bin/bash\n"
        (self.folder / "passwd").write_text(f"{accounts}sshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n")
        (self.folder / "group").write_text(f"root:x:0:\ntty:x:5:\n{USER}:x:{UID}:\n")
        (self.folder / "secret" / "token").write_text(self.token)
        self.authorize(public_key(self.folder / "keys", "mine"))
        for name in ("workspace", "tmp", "secret", "secret/token"):
            os.chown(self.folder / name, UID, UID)
        environ = {
            "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
            "HOME": f"{self.folder}/workspace",
            "TMPDIR": f"{self.folder}/tmp",
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/jobs",
            "GANGER_SESSION": "sofa",
            "GANGER_NAMESPACE": "team",
            "GANGER_JOB": "digits",
            "GANGER_CONFIG": '{"lr": 0.1, "name": "a # b"}',
            "GANGER_SESSION_HEALTH_PORT": str(self.health_port),
            "GANGER_SESSION_SECRET_DIR": f"{self.folder}/secret",
            "GANGER_SESSION_WORKSPACE": f"{self.folder}/workspace",
            "GANGER_TERMINATION_LOG": f"{self.folder}/tmp/message",
            "GANGER_GRACE_SECONDS": "12",
        }
        environ |= {"GANGER_SESSION_JUPYTER_PORT": str(self.jupyter_port)} if self.jupyter else {}
        environ |= {"GANGER_SESSION_SSH_PORT": str(self.ssh_port)} if self.ssh else {}
        words = [f"{name}={value}" for name, value in (environ | self.environ).items()]
        program = ["env", "-i", *words, f"{sys.prefix}/bin/python", "-m", "ganger_session"]
        shell = ["sh", "-c", POD.replace("cd ", f"{uncovered()}\ncd ", 1), "pod", *program]
        outer = {"PATH": os.environ["PATH"], "POD": str(self.folder)}
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen([*spaces, *shell], env=outer, stdout=log, stderr=subprocess.STDOUT)
        return self

    def authorize(self, keys: str) -> None:
        """Write the file of keys as the kubelet does: a new one takes its place."""
        fresh = self.folder / "secret" / "new"
        fresh.write_text(keys)
        os.chown(fresh, UID, UID)
        fresh.replace(self.folder / "secret" / "authorized_keys")

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def message(self) -> dict:
        """Its termination message."""
        return json.loads((self.folder / "tmp" / "message").read_text())

    def health(self) -> tuple[int, str]:
        """Status and word of the kubelet's probe."""
        return get(f"http://127.0.0.1:{self.health_port}/healthz")

    def until_ready(self, seconds: float = 60) -> "Pod":
        """Wait until the probe is content."""
        wait(lambda: self.health() == (200, "ok\n"), seconds, lambda: self.log, self.process)
        return self

    def end(self, seconds: float = 60) -> int:
        """Wait for the end of its first process and return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it still runs after {seconds} s:\n{self.log}") from error

    def first(self) -> int:
        """Process id of the supervisor, as this machine sees it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def pids(self) -> list[int]:
        """Process ids of all that runs in it."""
        space = Path(f"/proc/{self.first()}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns" / "pid").readlink() == space:
                    found.append(int(entry.name))
        return found

    def pid_of(self, text: str) -> int:
        """Process id of the one whose command line has `text`."""
        return next(pid for pid in self.pids() if text in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))

    def ssh_command(self, *options: str, key: str = "mine", user: str = USER) -> list[str]:
        """Return the words of ssh, without a command for the other side."""
        common = ["BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "UserKnownHostsFile=/dev/null"]
        known = [word for option in (*common, "LogLevel=ERROR", f"Port={self.ssh_port}") for word in ("-o", option)]
        known += ["-i", str(self.folder / "keys" / key)]
        return ["ssh", "-F", "none", *known, *options, f"{user}@127.0.0.1"]

    def run(self, command: str, *options: str, key: str = "mine", user: str = USER) -> subprocess.CompletedProcess:
        """Run a command over SSH."""
        words = [*self.ssh_command(*options, key=key, user=user), command]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)

    def api(self, path: str, method: str = "GET", body: dict | None = None) -> dict | list:
        """Ask Jupyter, with the token."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.jupyter_port}{path}", data, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def kill(self) -> None:
        """End all of it."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(self.first(), signal.SIGKILL)  # the first of its process ids: the kernel ends the others
            self.process.kill()
            self.process.wait()


def get(url: str) -> tuple[int, str]:
    """Status and body of a GET, (0, "") where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait(condition, seconds, said, process=None):
    """Wait until the condition holds and return its value; the failure has what was said."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{said()}"
        assert process is None or process.poll() is None, f"it ended:\n{said()}"
        time.sleep(0.1)
    return value


def host_key(log: str) -> str:
    """The host key that a session told."""
    return re.search(r"^host-key (ssh-ed25519 [A-Za-z0-9+/=]+)$", log, re.MULTILINE)[1]


@pytest.fixture(scope="session")
def make_pod():
    """Make pods; all of them are gone at the end."""
    if os.geteuid() != 0:
        pytest.skip("a process of another user, with terminals of its own, is made by root alone")
    system.ensure_packages("openssh-server")
    made: list[Pod] = []

    def make(**fields) -> Pod:
        folder = Path(tempfile.mkdtemp(prefix="ganger-test-session-"))
        folder.chmod(0o755)
        pod = Pod(folder, **fields)
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.kill()
        shutil.rmtree(pod.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pod(make_pod):
    """A session that all tests of a module share; it is ready."""
    return make_pod().start().until_ready()
