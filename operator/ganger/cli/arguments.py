"""Arguments and options that several commands share, with their checks.

A name that Kubernetes would refuse is refused here: it never reaches a URL, and the message is about the command line.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ganger.cli import figures
from ganger.cli.session import Session, Target

Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:  # generic from click 8.4 on, and at run time only there
    _Text = click.ParamType[str]
    _Number = click.ParamType[int]
else:
    _Text = _Number = click.ParamType

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_KINDS = ("trainingjob", "trainingjobs", "devsession", "devsessions")
_PREFIXES = (*(f"{kind}{end}" for kind in _KINDS for end in (".ganger.dev/", "/")), "tj/", "tjob/", "devs/")
NAME_LENGTH_MAX = 253
# Not GANGER_ alone: a worker has GANGER_NAMESPACE and more, which are about its job and not about this command.
ENVIRONMENT = "GANGER_CLI_"
COLOURING = ("auto", "always", "never")
OUTPUTS = ("table", "wide", "json", "yaml", "name")


class ObjectName(_Text):
    """The name of an object; `tj/digits`, as `-o name` prints it, is taken too."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the bare name."""
        text = str(value)
        for prefix in _PREFIXES:
            text = text.removeprefix(prefix)
        if len(text) > NAME_LENGTH_MAX or _NAME.fullmatch(text) is None:
            self.fail(
                f"{text!r} is no name of Kubernetes: lower-case letters, digits and '-', such as digits-2", param, ctx
            )
        return text


class JobName(ObjectName):
    """The name of a job, which a shell completes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the jobs of the namespace."""
        from ganger.cli import completing

        return [CompletionItem(name) for name in completing.jobs(ctx, incomplete)]


class SessionName(ObjectName):
    """The name of a dev session, which a shell completes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the sessions of the namespace."""
        from ganger.cli import completing

        return [CompletionItem(name) for name in completing.sessions(ctx, incomplete)]


class Namespace(ObjectName):
    """The name of a namespace, which a shell completes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the namespaces of the cluster."""
        from ganger.cli import completing

        return [CompletionItem(name) for name in completing.namespaces(ctx, incomplete)]


class Duration(_Number):
    """A time span such as 90s, 30m, 1h30m or 2d, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        seconds = figures.seconds_of(str(value))
        if seconds is None:
            self.fail(f"{value!r} is no duration: write 90s, 30m, 1h30m or 2d", param, ctx)
        return seconds


def _session(ctx: click.Context) -> Session:
    session = ctx.find_object(Session)
    assert session is not None, "main() passes the session"
    return session


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        _session(ctx).debug = True


def _set_no_colour(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        _session(ctx).terminal.colour = "never"


def _set_colour(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        _session(ctx).terminal.colour = value


def common(function: Function) -> Function:
    """Add what every command takes: --color, --no-color and --debug."""
    function = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an error."
    )(function)
    function = click.option(
        "--no-color", is_flag=True, expose_value=False, callback=_set_no_colour, hidden=True, help="As --color never."
    )(function)
    return click.option(
        "--color",
        type=click.Choice(COLOURING),
        expose_value=False,
        callback=_set_colour,
        help="Whether to write colours. Default: on a terminal, as NO_COLOR and FORCE_COLOR say.",
    )(function)


def _target(function: Callable[..., Any]) -> Callable[..., Any]:
    def with_target(
        *args: Any,
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        act_as: str | None,
        act_as_groups: tuple[str, ...],
        request_timeout: int | None,
        **kwargs: Any,
    ) -> Any:
        if act_as_groups and not act_as:
            raise click.UsageError("--as-group says to which groups the user of --as belongs: add --as")
        if request_timeout == 0:
            raise click.UsageError("--request-timeout must be at least 1s: leave it out for the usual 10s")
        target = Target(
            namespace=namespace,
            context=context,
            kubeconfig=kubeconfig,
            act_as=act_as,
            act_as_groups=act_as_groups,
            seconds=request_timeout,
        )
        return function(*args, target=target, **kwargs)

    with_target.__doc__ = function.__doc__
    with_target.__name__ = function.__name__
    # click keeps the options added so far on the function itself.
    with_target.__dict__.update(function.__dict__)
    return with_target


def on_cluster(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names the cluster, handed over as `target`, and what every command takes."""
    wrapped = common(_target(function))
    wrapped = click.option(
        "--request-timeout",
        type=Duration(),
        metavar="DURATION",
        envvar=f"{ENVIRONMENT}REQUEST_TIMEOUT",
        help="How long one request may take. Default: 10s.",
    )(wrapped)
    wrapped = click.option(
        "--as-group",
        "act_as_groups",
        multiple=True,
        metavar="GROUP",
        help="Group of the user of --as; may be repeated.",
    )(wrapped)
    wrapped = click.option(
        "--as", "act_as", metavar="USER", envvar=f"{ENVIRONMENT}AS", help="Ask as another user (impersonation)."
    )(wrapped)
    wrapped = click.option(
        "--kubeconfig",
        type=click.Path(),
        metavar="FILE",
        envvar=f"{ENVIRONMENT}KUBECONFIG",
        help="Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config.",
    )(wrapped)
    wrapped = click.option(
        "--context",
        metavar="NAME",
        envvar=f"{ENVIRONMENT}CONTEXT",
        help="Context of the kubeconfig. Default: the current one.",
    )(wrapped)
    return click.option(
        "-n",
        "--namespace",
        type=Namespace(),
        metavar="NAME",
        envvar=f"{ENVIRONMENT}NAMESPACE",
        help="Namespace. Default: that of the context.",
    )(wrapped)


def job_name(function: Function) -> Function:
    """Add the argument NAME."""
    return click.argument("name", type=JobName())(function)


def session_name(function: Function) -> Function:
    """Add the argument NAME, of a dev session."""
    return click.argument("name", type=SessionName())(function)


def output(function: Function) -> Function:
    """Add -o."""
    return click.option(
        "-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="How it is printed."
    )(function)


def for_people_or_scripts(function: Function) -> Function:
    """Add -o to a command that prints no objects of the cluster: a table or JSON."""
    choice = click.Choice(("table", "json"))
    return click.option("-o", "--output", type=choice, default="table", show_default=True, help="Format.")(function)


pass_session = click.make_pass_decorator(Session)
