"""What JupyterLab is told: loaded by it, not imported. The token comes from its file, and goes nowhere else."""

import os
import warnings
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp

from ganger_session import jupyter

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter's loader has it

# From the kubelet's side of a port-forward this is where a connection comes from; nobody else's gets here.
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = int(os.environ[jupyter.ENV_PORT])
c.ServerApp.port_retries = 0
c.ServerApp.base_url = "/"
c.ServerApp.root_dir = os.environ[jupyter.ENV_ROOT]
c.ServerApp.open_browser = False
c.ServerApp.allow_root = False
c.ServerApp.allow_origin = ""
c.ServerApp.quit_button = False
c.ServerApp.terminals_enabled = True
c.ServerApp.shutdown_no_activity_timeout = 0  # the supervisor counts what SSH does too
c.MappingKernelManager.cull_idle_timeout = 0
c.FileContentsManager.delete_to_trash = False
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.Application.log_level = "WARN"

c.IdentityProvider.token = Path(os.environ[jupyter.ENV_TOKEN_FILE]).read_text().strip()
c.PasswordIdentityProvider.allow_password_change = False
# Jupyter would write the token into two more files, for browsers and for programs that look for running servers.
for name in ("write_browser_open_files", "write_server_info_file"):
    setattr(ServerApp, name, lambda _self: None)


def saved(**_: Any) -> None:
    """Leave a trace: whoever saves a file is there."""
    Path(os.environ[jupyter.ENV_SAVED]).touch()


c.FileContentsManager.post_save_hook = saved
warnings.filterwarnings("ignore", message="Overriding existing post_save_hook")  # this file is loaded several times
