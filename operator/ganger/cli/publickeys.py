"""Public SSH keys of this machine, as a session takes them. A private key is never read."""

from collections.abc import Sequence
from pathlib import Path

from ganger.api.pattern import matches
from ganger.api.session import AUTHORIZED_KEY
from ganger.api.session_rules import key_trouble
from ganger.cli.problem import Code, Problem
from ganger.cli.terminal import escape

NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")  # as ssh tries them


def read(paths: Sequence[Path]) -> list[str]:
    """Return the keys of these files, each once. Of a private key the .pub beside it is read. Raises Problem."""
    return list(dict.fromkeys(key for path in paths for key in _keys(path)))


def own(home: Path) -> list[str]:
    """Return the keys with which ssh would log in by itself and which a session would take; [] where there is none."""
    found: list[str] = []
    for name in NAMES:
        path = home / ".ssh" / f"{name}.pub"
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        found += [line.strip() for line in lines if not _trouble(line.strip())]
    return found


def _keys(path: Path) -> list[str]:
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    source = public if public.exists() else path
    with source.open("rb") as file:
        if file.read(10).startswith(b"-----BEGIN"):
            why = f"it is a private key, and there is no {public.name} beside it"
            raise Problem(f"{path} is no public key", why, f"ssh-keygen -y -f {path} > {public}", code=Code.USAGE)
    found = [line.strip() for line in source.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for line in found:
        if why := _trouble(line):
            fix = "name the .pub file of an ed25519 key: ssh-keygen -t ed25519 makes one"
            raise Problem(f"{source} cannot be used", escape(why), fix, code=Code.USAGE)
    if not found:
        raise Problem(f"{source} cannot be used", "it is empty", "name a .pub file", code=Code.USAGE)
    return found


def _trouble(line: str) -> str:
    if not matches(AUTHORIZED_KEY, line):
        kind = line.partition(" ")[0][:40] or "nothing"
        return f"it holds no key that a session takes, but {kind}: ed25519, ecdsa, RSA from 3072 bits, without options"
    return f"its key {trouble}" if (trouble := key_trouble(line)) else ""
