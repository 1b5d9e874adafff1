"""`ganger`: finds the command, calls it, and turns whatever goes wrong into three lines and an exit code."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ganger.cli import problem
from ganger.cli.arguments import common
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session

# In the order in which a newcomer meets them. The sentence is here so that --help need not load the module.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init:init", "Write the manifest of a first job, with comments."),
    "examples": ("examples:examples", "List the jobs that come with Ganger, or print the manifest of one."),
    "validate": ("validate:validate", "Check a manifest without a cluster: every mistake with its line."),
    "run": ("run:run", "Run a job as local processes, without a cluster."),
    "render": ("render:render", "Print every object that the operator would create for a job or a session."),
    "submit": ("submit:submit", "Send a job to the cluster; --watch follows it."),
    "diff": ("diff:diff", "Show what an apply of a manifest would change, and what that does."),
    "list": ("listing:list_jobs", "List jobs with phase, progress and loss."),
    "status": ("status:status", "Tell how a job is, what it waits for and what to do."),
    "watch": ("watch:watch", "Show a job, or all of them, live: progress, loss, workers, where the time goes."),
    "logs": ("logs:logs", "Print the logs of all workers; -f follows them through restarts."),
    "shell": (
        "shell:shell",
        "Open a shell in a running worker of a job, or in a pod like one, or run a command there.",
    ),
    "dev": ("dev:dev", "Dev sessions: Jupyter and SSH in a pod, with the image and volumes of a job."),
    "wait": ("wait:wait", "Wait for a job; the exit code mirrors how it ended."),
    "suspend": ("suspension:suspend", "Stop a job after a checkpoint; its GPUs become free."),
    "resume": ("suspension:resume", "Let a suspended job go on from its checkpoint."),
    "retry": ("retry:retry", "Start a failed job anew, from its newest checkpoint."),
    "request": ("request:request", "Ask a running job for a checkpoint now, or for the stacks of its processes."),
    "set": ("setting:set_", "Change settings of a job while it trains, on all workers after one step."),
    "metrics": ("metrics:metrics", "Print the newest figures of a job: loss, throughput, its own metrics."),
    "top": ("top:top", "Show what jobs or nodes hold of GPUs, CPU and memory."),
    "checkpoints": ("checkpoints:checkpoints", "List what jobs have saved, or remove the volumes of deleted jobs."),
    "export": ("export:export", "Make model files from a checkpoint of a job, and compare them with it."),
    "cp": ("cp:cp", "Copy files of a job to this machine, or back."),
    "doctor": ("doctor:doctor", "Check the cluster for what Ganger needs; each trouble with its remedy."),
    "report": ("bundle:report", "Write what a bug report about a job needs into a file, without secrets."),
    "delete": ("delete:delete", "Delete a job and say what stays."),
    "version": (
        "version:version",
        "Tell the versions of this program, the operator and the API, and whether they fit.",
    ),
    "completion": ("completion:completion", "Print the script that completes commands and names of jobs."),
}
_EPILOG = """\b
Examples:
  ganger init digits                  a first manifest: digits.yaml
  ganger run job.yaml                 the job on this machine
  ganger submit -f job.yaml --watch   the job on the cluster, with its logs
  ganger status digits                what it does or waits for
"""
# What people type who come from elsewhere, and what it is called here.
_ELSEWHERE = {
    "apply": "submit",
    "create": "submit",
    "get": "list",
    "ls": "list",
    "ps": "list",
    "describe": "status",
    "attach": "watch",
    "stop": "suspend' keeps its checkpoint and 'ganger resume' goes on; for good: 'ganger delete",
    "cancel": "suspend' keeps its checkpoint and 'ganger resume' goes on; for good: 'ganger delete",
    "kill": "suspend' keeps its checkpoint and 'ganger resume' goes on; for good: 'ganger delete",
    "start": "resume",
    "check": "doctor",
    "lint": "validate",
}
PIPE_CLOSED = 141  # 128 + SIGPIPE, as a program that dies of it


_CLUSTER_OPTIONS = ("-n", "--namespace", "--context", "--kubeconfig", "--as", "--as-group", "--request-timeout")


def behind_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with leading options of the cluster moved behind the name of the command. Pure."""
    moved: list[str] = []
    rest = list(arguments)
    while rest and (rest[0] in _CLUSTER_OPTIONS or rest[0].startswith(tuple(f"{name}=" for name in _CLUSTER_OPTIONS))):
        taken = 1 if "=" in rest[0] else 2
        moved, rest = moved + rest[:taken], rest[taken:]
    words = 2 if rest[:1] == ["dev"] else 1
    return rest[:words] + moved + rest[words:]


def beginning(commands: Mapping[str, tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Return the commands of a table that begin so, without loading any of them. Pure."""
    found = ((name, sentence) for name, (_, sentence) in commands.items() if name.startswith(incomplete))
    return [CompletionItem(name, help=sentence) for name, sentence in found]


def refuse_unknown(ctx: click.Context, word: str, commands: Iterable[str], elsewhere: Mapping[str, str]) -> None:
    """Raise UsageError for a word that is no command: which one was probably meant, or what it is called here."""
    known = tuple(commands)
    if word in known or word.startswith("-"):
        return
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    if word in elsewhere:
        group = " ".join(("ganger", *ctx.command_path.split()[1:])) if ctx.parent is not None else "ganger"
        hint = f"; it is '{group} {elsewhere[word]}'"
    raise click.UsageError(f"there is no command {word!r}{hint}", ctx)


class Commands(click.Group):
    """A group that loads a command's module only when the command is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the options of kubectl also taken before the command, where kubectl takes them."""
        return super().parse_args(ctx, behind_command(args))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, loading its module."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"ganger.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands that begin so, without loading any of them, and options."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return beginning(COMMANDS, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments, or say which one was probably meant."""
        refuse_unknown(ctx, args[0], COMMANDS, _ELSEWHERE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without loading any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.command(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ganger", message="ganger %(version)s")
@common
def cli() -> None:
    """Run training jobs: on this machine, or as gangs of pods on a Kubernetes cluster."""


def run(arguments: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run one command and return its exit code. Never raises, but for a bug with --debug it prints the traceback."""
    session = session if session is not None else Session()
    program = "kubectl ganger" if Path(sys.argv[0]).name == "kubectl-ganger" else "ganger"
    try:
        result: Any = cli.main(
            args=list(arguments) if arguments is not None else None,
            prog_name=program,
            obj=session,
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Code.USAGE
    except (click.Abort, KeyboardInterrupt):
        session.terminal.message("interrupted")
        return Code.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as `head` does; Python must not complain about it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last line before the person: no traceback may pass it
        return _report(error, session)
    return int(result) if isinstance(result, int) else Code.COMPLETE


def _report(error: Exception, session: Session) -> int:
    found = _problem(error)
    if session.debug:
        traceback.print_exception(error)
    for number, line in enumerate(found.lines()):
        session.terminal.message(line, *(("red", "bold") if number == 0 else ()))
    return found.code


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, click.UsageError):
        return problem.from_usage(error)
    if isinstance(error, click.ClickException):
        return Problem(error.format_message(), "", "", code=Code.USAGE)
    if isinstance(error, OSError):
        return problem.from_system(error)
    return problem.from_bug(error)
