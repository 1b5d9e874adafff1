"""Read the environment of a session's pod into one frozen value.

The operator writes these names; every error names the variable, what it may hold and what to do, all errors at once.
"""

import importlib.util
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganger import contract

SSHD: Final = Path("/usr/sbin/sshd")
GRACE_SECONDS: Final = 30  # between SIGTERM and SIGKILL, where the pod does not say
_NO_SHELL: Final = frozenset({"nologin", "false", ""})
_IMAGE: Final = "build the image FROM pytorch-cuda-dev, or leave spec.image of the session out"


class SettingsError(Exception):
    """The pod cannot be a session as it is; the message names every fault and its remedy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the pod knows of its session.

    jupyter_port, ssh_port: None where the session goes without; `kubectl exec` is left. idle_seconds 0: it never ends
    for being idle. report_url: where its activity is told, None for nowhere, with the token
    and the authority of these files.
    """

    name: str
    namespace: str
    jupyter_port: int | None
    ssh_port: int | None
    health_port: int
    secrets: Path
    workspace: Path
    idle_seconds: int
    max_seconds: int
    grace_seconds: int
    termination_log: Path | None
    report_url: str | None
    control_token: Path
    control_authority: Path

    @property
    def token(self) -> Path:
        """The file of Jupyter's token."""
        return self.secrets / contract.SESSION_TOKEN_FILE

    @property
    def authorized_keys(self) -> Path:
        """The file of the public keys that may log in."""
        return self.secrets / contract.SESSION_KEYS_FILE


def read(environ: Mapping[str, str]) -> Settings:
    """Return what `environ` says. Raises SettingsError naming each variable at fault. Pure."""
    faults: list[str] = []

    def integer(name: str, default: int | None, low: int, high: int) -> int | None:
        text = environ.get(name, "")
        if not text:
            return default
        value = int(text) if text.isdecimal() else low - 1
        if not low <= value <= high:
            faults.append(f"{name} is {text!r}, allowed: a whole number {low} .. {high} (the operator sets it)")
            return default
        return value

    jupyter = integer(contract.ENV_SESSION_JUPYTER_PORT, None, 1024, 65535)
    ssh = integer(contract.ENV_SESSION_SSH_PORT, None, 1024, 65535)
    url = environ.get(contract.ENV_SESSION_REPORT_URL) or None
    if url is not None and not url.startswith("https://"):
        faults.append(f"{contract.ENV_SESSION_REPORT_URL} is {url!r}, allowed: an https:// URL (the operator sets it)")
    log = environ.get(contract.ENV_TERMINATION_LOG, contract.TERMINATION_LOG)
    result = Settings(
        name=environ.get(contract.ENV_SESSION) or "session",
        namespace=environ.get(contract.ENV_NAMESPACE) or "default",
        jupyter_port=jupyter,
        ssh_port=ssh,
        health_port=integer(contract.ENV_SESSION_HEALTH_PORT, contract.SESSION_HEALTH_PORT, 0, 65535) or 0,
        secrets=Path(environ.get(contract.ENV_SESSION_SECRET_DIR) or contract.SESSION_SECRET_MOUNT),
        workspace=Path(environ.get(contract.ENV_SESSION_WORKSPACE) or contract.WORKSPACE_MOUNT),
        idle_seconds=integer(contract.ENV_SESSION_IDLE_SECONDS, 3600, 0, 2**31) or 0,
        max_seconds=integer(contract.ENV_SESSION_MAX_SECONDS, 86400, 1, 2**31) or 86400,
        grace_seconds=integer(contract.ENV_GRACE_SECONDS, GRACE_SECONDS, 1, 86400) or GRACE_SECONDS,
        termination_log=Path(log) if log else None,
        report_url=url,
        control_token=Path(environ.get(contract.ENV_CONTROL_TOKEN) or f"{contract.CONTROL_MOUNT}/token"),
        control_authority=Path(environ.get(contract.ENV_CONTROL_CA) or f"{contract.CONTROL_MOUNT}/ca.crt"),
    )
    if faults:
        raise SettingsError("; ".join(faults))
    return result


def login(uid: int) -> pwd.struct_passwd:
    """Return the account that SSH logs in to, that of the user `uid`.

    Raises SettingsError where it has no entry in /etc/passwd, or no shell.
    """
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        raise SettingsError(
            f"SSH needs an account, and user id {uid} has none in /etc/passwd: run the pod as user id 1000 of the "
            "pytorch-cuda-dev image, or take ssh out of the session"
        ) from None
    if account.pw_uid == 0:
        raise SettingsError("a session does not run as root: run the pod as user id 1000")
    if account.pw_shell.rpartition("/")[2] in _NO_SHELL or not os.access(account.pw_shell, os.X_OK):
        raise SettingsError(f"SSH needs a shell, and that of {account.pw_name} is {account.pw_shell!r}: {_IMAGE}")
    return account


def check(settings: Settings, uid: int) -> None:
    """Raise SettingsError where image, user or secret lack what the session needs. Reads the file system."""
    faults = []
    if settings.jupyter_port is not None:
        if importlib.util.find_spec("jupyterlab") is None:
            faults.append(f"the image has no JupyterLab: {_IMAGE}")
        if not _content(settings.token):
            faults.append(f"{settings.token} holds no token: the session's Secret, key `token`, has to have one")
    if settings.ssh_port is not None:
        if not SSHD.exists():
            faults.append(f"the image has no {SSHD}: {_IMAGE}")
        try:
            login(uid)
        except SettingsError as error:
            faults.append(str(error))
    if not os.access(settings.workspace, os.W_OK | os.X_OK):
        faults.append(f"{settings.workspace} cannot be written by user id {uid}: mount a volume there, with fsGroup")
    if faults:
        raise SettingsError("; ".join(faults))


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
