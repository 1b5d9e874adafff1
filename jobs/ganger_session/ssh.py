"""sshd as a child, without root: its configuration, its host key, and what of the environment its logins get.

Keys are read by a program, not as a file: whatever a pod can write to lies below a directory that others may write to,
which sshd refuses to trust, and rightly. So a changed key is in force at the next login.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ganger_session.settings import SSHD, Settings

# One key a line, of a type that is allowed, without options in front: `command=` and `environment=` are not for users.
_KEY: Final = "/^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+\\/=]+( |$)/p"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What belongs to a process or to a login itself.
_OWN: Final = frozenset({"USER", "LOGNAME", "SHELL", "MAIL", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "HOSTNAME"})

_ALGORITHMS: Final = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"

CONFIG: Final = """\
AddressFamily inet
ListenAddress 127.0.0.1
Port {port}
HostKey {host_key}
PidFile none
UsePAM no
StrictModes yes
LogLevel VERBOSE
AllowUsers {user}
PermitRootLogin no
PubkeyAuthentication yes
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
HostbasedAuthentication no
AuthorizedKeysFile none
AuthorizedKeysCommand /usr/bin/sed -nE "{keys}" {authorized_keys}
AuthorizedKeysCommandUser {user}
MaxAuthTries 3
MaxSessions 20
LoginGraceTime 30
RequiredRSASize 3072
HostKeyAlgorithms ssh-ed25519
PubkeyAcceptedAlgorithms {algorithms}
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com
MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com
AllowAgentForwarding no
AllowTcpForwarding local
AllowStreamLocalForwarding no
PermitListen none
GatewayPorts no
PermitTunnel no
X11Forwarding no
PermitUserEnvironment no
PermitUserRC no
Compression no
UseDNS no
PrintMotd no
ClientAliveInterval 0
TCPKeepAlive yes
Subsystem sftp internal-sftp -d {workspace}
"""


def configuration(settings: Settings, user: str, host_key: Path, environ: Mapping[str, str]) -> str:
    """Return the text of sshd's configuration. Pure.

    environ: what logins start with, the pod's own environment; what cannot be said there is left out.
    """
    text = CONFIG.format(
        port=settings.ssh_port, host_key=host_key, user=user, keys=_KEY,
        authorized_keys=settings.authorized_keys, algorithms=_ALGORITHMS, workspace=settings.workspace,
    )  # fmt: skip
    words = [_quoted(f"{name}={value}") for name, value in sorted(inherited(environ).items())]
    return text + (f"SetEnv {' '.join(words)}\n" if words else "")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of the pod's environment a login gets: all but what is its own, and values of several lines. Pure."""
    return {
        name: value
        for name, value in environ.items()
        if _NAME.fullmatch(name) and name not in _OWN and not name.startswith("SSH_") and value.isprintable()
    }


def prepare(settings: Settings, user: str, folder: Path, environ: Mapping[str, str]) -> tuple[list[str], str]:
    """Make a host key and the configuration in `folder`; return sshd's words and the public host key.

    Raises OSError, and CalledProcessError where ssh-keygen fails.
    """
    host_key = folder / "ssh_host_ed25519_key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(host_key)]
    subprocess.run(make, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    config = folder / "sshd_config"
    config.touch(mode=0o600)
    config.write_text(configuration(settings, user, host_key, environ))
    public = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
    return [str(SSHD), "-D", "-e", "-f", str(config)], public


def _quoted(word: str) -> str:
    """Return `word` as sshd's parser takes it for one."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
