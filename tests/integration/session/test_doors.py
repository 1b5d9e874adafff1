"""Who gets into a session: whoever has its token or its key, and nobody else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from integration.session.browser import Tab
from integration.session.conftest import get, host_key, public_key

GOLDEN = Path(__file__).with_name("sshd.txt")


def everything_said(pod) -> dict[str, str]:
    """Arguments and environment of every process in the pod, all files that it wrote, and its log, by where it is."""
    found = {"log": pod.log}
    for pid in pod.pids():
        for name in ("cmdline", "environ"):
            found[f"/proc/{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    for place in ("tmp", "workspace"):
        for path in (pod.folder / place).rglob("*"):
            if path.is_file():
                found[str(path)] = path.read_bytes().decode(errors="replace")
    return found


class TestToken:
    def test_opens_jupyter_and_nothing_else_does(self, pod):
        url = f"http://127.0.0.1:{pod.jupyter_port}/api/kernels"

        assert [200, 403, 403] == [get(url + query)[0] for query in (f"?token={pod.token}", "", "?token=guess")]

    def test_is_in_its_file_alone_although_it_is_used(self, pod):
        get(f"http://127.0.0.1:{pod.jupyter_port}/lab?token={pod.token}")
        get(f"http://127.0.0.1:{pod.jupyter_port}/no-such-page?token={pod.token}")  # what fails is logged
        printed = Tab(pod).run("import os; print(os.environ)")
        pod.api("/api/terminals", "POST")

        said = everything_said(pod) | {"a cell": printed, "a login": pod.run("env; cat /proc/*/cmdline").stdout}

        assert "GANGER_SESSION" in printed
        assert "/no-such-page" in pod.log
        assert [] == [where for where, text in said.items() if pod.token in text]

    def test_jupyter_listens_on_loopback_alone(self, pod):
        assert f"0100007F:{pod.jupyter_port:04X}" in Path("/proc/net/tcp").read_text()
        assert f"00000000:{pod.jupyter_port:04X}" not in Path("/proc/net/tcp").read_text()


class TestSsh:
    def test_a_login_has_what_the_job_and_the_session_have(self, pod):
        said = pod.run("""echo "$GANGER_JOB $GANGER_CONFIG"; command -v python; pwd; id -un""")

        workspace = f"{pod.folder}/workspace"
        python = f"{sys.prefix}/bin/python"
        assert ['digits {"lr": 0.1, "name": "a # b"}', python, workspace, "ganger"] == said.stdout.splitlines(), said

    def test_a_login_has_a_terminal_and_files_can_be_copied(self, pod, tmp_path):
        (tmp_path / "copied").write_text("words")
        batch = f"put {tmp_path}/copied\nls\n"
        words = ["sftp", *pod.ssh_command("-b", "-")[1:]]
        result = subprocess.run(words, input=batch, capture_output=True, text=True, timeout=30)

        assert "/dev/pts/" in pod.run("tty", "-tt").stdout
        assert "words" == (pod.folder / "workspace" / "copied").read_text(), result

    @pytest.mark.parametrize(
        "options, key, user",
        [
            (("-o", "PreferredAuthentications=password,keyboard-interactive"), "mine", "ganger"),
            ((), "mine", "root"),
            ((), "other", "ganger"),
            ((), "short", "ganger"),
        ],
        ids=["password", "root", "another key", "RSA of 2048 bits"],
    )
    def test_refuses(self, pod, options, key, user):
        keys = pod.folder / "keys"
        if not (keys / "other").exists():
            public_key(keys, "other")
            short = public_key(keys, "short", "-t", "rsa", "-b", "2048")
            pod.authorize((keys / "mine.pub").read_text() + short)

        said = pod.run("id", *options, key=key, user=user)

        assert 255 == said.returncode
        assert "Permission denied (publickey)" in said.stderr

    def test_a_changed_file_of_keys_is_in_force_at_the_next_login(self, pod):
        mine, later = (pod.folder / "keys" / "mine.pub").read_text(), public_key(pod.folder / "keys", "later")
        before = pod.run("id", key="later").returncode
        pod.authorize(f'command="id" {later}')
        with_options = pod.run("id", key="later").returncode
        pod.authorize(later)

        assert [255, 255, 0, 255] == [
            before,
            with_options,
            pod.run("id", key="later").returncode,
            pod.run("id").returncode,
        ]
        pod.authorize(mine)

    def test_forwards_to_the_session_and_nothing_back(self, pod):
        backwards = pod.run("echo here", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22")
        agent = pod.run("echo agent=$SSH_AUTH_SOCK", "-A")

        assert (255, "remote port forwarding failed") == (backwards.returncode, backwards.stderr.strip()[7:36])
        assert "agent=\n" == agent.stdout

    def test_tells_its_host_key_once(self, pod):
        scanned = subprocess.check_output(
            ["ssh-keyscan", "-t", "ed25519", "-p", str(pod.ssh_port), "127.0.0.1"], text=True, stderr=subprocess.DEVNULL
        )

        assert host_key(pod.log) == " ".join(scanned.split()[1:3])
        assert 1 == pod.log.count("host-key ")


def test_sshd_understands_it_as_it_was_meant(pod):
    """What the running sshd has in force, with what nobody wrote: read once by a person, compared since."""
    printed = pod.run("/usr/sbin/sshd -T -f $TMPDIR/ganger-session-*/sshd_config").stdout
    own = {f"{pod.folder}": "POD", f" {pod.ssh_port}": " 2222", f":{pod.ssh_port}": ":2222"}
    for text, name in own.items():
        printed = printed.replace(text, name)
    lines = [line for line in printed.splitlines() if not line.startswith("setenv ")]  # a login tells of these
    told = re.sub("ganger-session-[a-z0-9_]+", "RUN", "".join(f"{line}\n" for line in sorted(lines)))
    if os.environ.get("GANGER_GOLDEN") == "write":
        GOLDEN.write_text(told)

    assert GOLDEN.read_text() == told
