"""Which cluster, who asks and how long: options, environment and what they become."""

import time

import pytest

from ganger.cli import connection, main
from ganger.cli.session import Session, Target
from ganger.cli.terminal import Terminal


@pytest.fixture
def targets(ganger):
    """Run a command and return the target that it opened."""
    opened: list[Target] = []

    def connect(target):
        opened.append(target)
        return ganger._connect(target)

    def call(*arguments):
        code = main.run(list(arguments), Session(terminal=Terminal(environ={}), connect=connect))
        return code, opened[-1] if opened else None

    return call


def test_options_and_environment_say_the_same_and_an_option_wins(targets, monkeypatch):
    options = ("-n", "a", "--context", "c", "--kubeconfig", "f", "--as", "ann", "--request-timeout", "3s")
    expected = Target(namespace="a", context="c", kubeconfig="f", act_as="ann", seconds=3)
    assert (0, expected) == targets("list", *options)

    for name, value in {
        "NAMESPACE": "a",
        "CONTEXT": "c",
        "KUBECONFIG": "f",
        "AS": "ann",
        "REQUEST_TIMEOUT": "3s",
    }.items():
        monkeypatch.setenv(f"GANGER_CLI_{name}", value)
    assert (0, expected) == targets("list")
    assert "b" == targets("list", "-n", "b")[1].namespace


def test_the_namespace_of_a_worker_is_none_of_the_command(targets, monkeypatch):
    monkeypatch.setenv("GANGER_NAMESPACE", "of-a-worker")

    assert Target() == targets("list")[1]


def test_options_stand_before_the_command_too(targets):
    found = targets("--as", "ann", "--as-group=a", "--as-group", "b", "list")[1]

    assert Target(act_as="ann", act_as_groups=("a", "b")) == found


@pytest.mark.parametrize(
    "options, text",
    [
        (("--as-group", "a"), "add --as"),
        (("--request-timeout", "0"), "must be at least 1s"),
        (("--request-timeout", "soon"), "'soon' is no duration: write 90s, 30m, 1h30m or 2d"),
    ],
)
def test_what_makes_no_sense_is_told(ganger, options, text):
    said = ganger("list", *options)

    assert 2 == said.code
    assert text in said.err


@pytest.mark.parametrize("groups", [(), ("team",)])
async def test_who_is_named_by_as_is_asked_for_instead_of_the_kubeconfigs(tmp_path, groups):
    path = tmp_path / "config"
    path.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        " clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: u, user: {as: bob, as-groups: [x]}}]}"
    )
    target = Target(kubeconfig=str(path), act_as="ann", act_as_groups=groups)

    async with connection.connect(target) as found:
        asks = await found.cluster.access.headers()
    async with connection.connect(Target(kubeconfig=str(path))) as found:
        before = await found.cluster.access.headers()

    assert [("Impersonate-User", "ann"), *(("Impersonate-Group", group) for group in groups)] == asks
    assert [("Impersonate-User", "bob"), ("Impersonate-Group", "x")] == before


def test_a_cluster_that_does_not_answer_is_told_within_five_seconds(tmp_path, capsys):
    path = tmp_path / "config"
    # 192.0.2.0/24 is for documentation: nobody answers there, be it by silence or by a refusal on the way.
    path.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        " clusters: [{name: k, cluster: {server: 'https://192.0.2.1:6443'}}], users: [{name: u, user: {token: t}}]}"
    )
    began = time.monotonic()

    code = main.run(["list", "--kubeconfig", str(path)], Session(terminal=Terminal(environ={})))

    assert 5 == code
    assert 5.0 > time.monotonic() - began
    assert "why: the API server did not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, environ, coloured",
    [
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("auto", {}, False),
    ],
)
def test_colours_are_as_the_option_says_else_as_the_environment(ganger, option, environ, coloured):
    ganger.job(Running="Test", phase="Running")
    ganger.environ = environ

    assert coloured == ("\x1b[32m" in ganger("list", "--color", option).out)


def test_a_warning_of_the_server_is_told_once_and_harmless(ganger, monkeypatch):
    put = ganger.cluster.list

    async def warned(*arguments, **named):
        for _ in range(2):
            ganger.connection.warnings.take("old \x1b[2J")
        return await put(*arguments, **named)

    ganger.cluster.list = warned

    assert "warning: old \\x1b[2J\n" == ganger("list", "-o", "json").err
