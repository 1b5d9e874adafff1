"""`ganger completion`: what a shell needs to complete commands, options and the names of jobs."""

import sys
from collections.abc import Sequence

import click
from click import shell_completion

from ganger.cli import arguments
from ganger.cli.problem import Code
from ganger.cli.session import Session

SHELLS = ("bash", "zsh", "fish")
NO_FILES, FILES = 4, 0  # ShellCompDirective of cobra, which kubectl reads


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@arguments.common
@arguments.pass_session
def completion(session: Session, shell: str) -> Code:
    """Print the script that completes commands and names of jobs.

    \b
    bash   echo 'source <(ganger completion bash)' >> ~/.bashrc
    zsh    echo 'source <(ganger completion zsh)' >> ~/.zshrc, behind compinit
    fish   ganger completion fish > ~/.config/fish/completions/ganger.fish

    bash must be 4.4 or later. For `kubectl ganger`, kubectl's own completion asks the program kubectl_complete-ganger,
    which is installed beside this one.
    """
    from ganger.cli.main import cli

    found = shell_completion.get_completion_class(shell)
    assert found is not None, f"click knows {shell}"
    session.terminal.data(found(cli, {}, "ganger", "_GANGER_COMPLETE").source().strip("\n"))
    return Code.COMPLETE


def kubectl(arguments: Sequence[str], session: Session) -> list[str]:
    """Return the lines that kubectl reads: what may stand there, and last a directive. arguments: the words so far."""
    from ganger.cli.main import cli

    *words, incomplete = arguments or [""]
    completing = shell_completion.ShellComplete(cli, {"obj": session}, "kubectl ganger", "_GANGER_COMPLETE")
    found = completing.get_completions(list(words), incomplete)
    lines = [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in found if item.type == "plain"]
    return [*lines, f":{FILES if any(item.type in ('file', 'dir') for item in found) else NO_FILES}"]


def kubectl_main() -> None:
    """Print what kubectl asks for, as the program kubectl_complete-ganger."""
    sys.stdout.write("\n".join(kubectl(sys.argv[1:], Session())) + "\n")
