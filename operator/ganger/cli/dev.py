"""`ganger dev`: the commands about dev sessions, each loaded when it is called."""

import importlib

import click
from click.shell_completion import CompletionItem

from ganger.cli.main import beginning, behind_command, refuse_unknown

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("devup:up", "Open a session, or start one again, and connect to it."),
    "ls": ("devlist:ls", "List sessions: phase, job, how long they are idle, and when they end if they stay so."),
    "connect": ("devconnect:connect", "Forward a local port to Jupyter and print its address."),
    "ssh": ("devssh:ssh", "Log in by SSH, run a command there, or print a Host block for editors."),
    "wait": ("devwait:wait", "Wait for a session; the exit code mirrors how it is."),
    "logs": ("devlogs:logs", "Print what a session's supervisor and servers say."),
    "stop": ("devend:stop", "Stop a session and say what stays."),
    "delete": ("devend:delete", "Delete a session and say what stays."),
}
HIDDEN = {"proxy": "devssh:proxy"}  # what ssh calls
# What people type who come from elsewhere, and what it is called here.
_ELSEWHERE = {
    "list": "ls",
    "ps": "ls",
    "get": "ls",
    "create": "up",
    "start": "up",
    "open": "connect",
    "jupyter": "connect",
    "attach": "connect",
    "exec": "ssh",
    "shell": "ssh",
    "down": "stop",
    "suspend": "stop",
    "rm": "delete",
}
_EPILOG = """\b
Examples:
  ganger dev up try --from-job digits      the image, volumes and checkpoints of a job
  ganger dev up try --gpus 1 --memory 16Gi --storage 20Gi --idle 2h
  ganger dev ssh try -- nvidia-smi
  ganger dev ssh try --config >> ~/.ssh/config
"""


class Doors(click.Group):
    """A group that loads a command's module only when the command is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the options of kubectl also taken before the command."""
        return super().parse_args(ctx, behind_command(args))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, loading its module."""
        where = COMMANDS[cmd_name][0] if cmd_name in COMMANDS else HIDDEN.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(f"ganger.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands that begin so, without loading any of them, and options."""
        return (
            super().shell_complete(ctx, incomplete) if incomplete.startswith("-") else beginning(COMMANDS, incomplete)
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments, or say which one was probably meant."""
        refuse_unknown(ctx, args[0], (*COMMANDS, *HIDDEN), _ELSEWHERE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without loading any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.command(cls=Doors, epilog=_EPILOG)
def dev() -> None:
    """Dev sessions: Jupyter and SSH in a pod, with the image and volumes of a job.

    A session ends when nothing happens in it (--idle) or when its time is over (--max); what is in /workspace stays
    where it has storage, and 'ganger dev up' begins again there.
    """
