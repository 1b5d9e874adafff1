"""JupyterLab as a child: how it is started, and what it says of its kernels."""

import json
import sys
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ganger import contract
from ganger_session.settings import Settings

# Between the supervisor and `jupyter_server_config`, which Jupyter loads by itself.
ENV_PORT: Final = contract.ENV_SESSION_JUPYTER_PORT
ENV_ROOT: Final = "GANGER_SESSION_JUPYTER_ROOT"
ENV_TOKEN_FILE: Final = "GANGER_SESSION_JUPYTER_TOKEN_FILE"  # noqa: S105 - its path
ENV_SAVED: Final = "GANGER_SESSION_JUPYTER_SAVED"  # a file that is touched when a document is saved

CONFIG: Final = Path(__file__).with_name("jupyter_server_config.py")
PATIENCE_SECONDS: Final = 5.0


def command() -> list[str]:
    """Return the words that start it."""
    return [sys.executable, "-m", "jupyterlab", f"--config={CONFIG}"]


def environment(settings: Settings, environ: Mapping[str, str], folder: Path, shell: str | None) -> dict[str, str]:
    """Return what it runs with. folder: for what lives as long as the pod. shell: of its terminals."""
    return dict(environ) | {
        ENV_PORT: str(settings.jupyter_port),
        ENV_ROOT: str(settings.workspace),
        ENV_TOKEN_FILE: str(settings.token),
        ENV_SAVED: str(saved(folder)),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "SHELL": shell or "/bin/sh",
    }


def saved(folder: Path) -> Path:
    """Return the file that is touched when a document is saved."""
    return folder / "saved"


class Server:
    """The running JupyterLab, asked on loopback. It may be slow or gone: then there is no answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # No proxy of the environment's: it is on this machine, and the token is not for others.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def answers(self) -> bool:
        """Return whether it takes requests."""
        return self._get("/api", token=False) is not None

    def kernels(self) -> list[dict[str, Any]]:
        """Return its kernels as its API tells them, [] where it does not answer."""
        found = self._get("/api/kernels", token=True)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _get(self, path: str, *, token: bool) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._settings.jupyter_port}{path}")
        try:
            if token:
                request.add_header("Authorization", f"token {self._settings.token.read_text().strip()}")
            with self._open(request, timeout=PATIENCE_SECONDS) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):  # HTTPError and URLError are OSErrors
            return None


def busy(kernels: list[dict[str, Any]]) -> bool:
    """Return whether one of them runs a cell. Pure."""
    return any(one.get("execution_state") == "busy" for one in kernels)


def spoken_to(kernels: list[dict[str, Any]]) -> float:
    """Return when a person's message last reached one of them, in seconds since 1970; 0 without one. Pure."""
    return max((_seconds(str(one.get("last_activity"))) for one in kernels), default=0.0)


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
