"""`python -m ganger_dev`: binaries, cluster, images. Every failure is one line of what, why and what to do."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from ganger_dev import binaries, cluster, control_plane, debian, demo, generate, images, recording, security
from ganger_dev.errors import DevError
from ganger_dev.paths import repository

_NAME = click.option("--name", default=cluster.DEFAULT, show_default=True, help="Which embedded cluster.")
_TORCH = click.option("--torch", default=images.DEFAULT_TORCH, show_default=True, help="The version of torch.")


@click.group()
def main() -> None:
    """Build and run what Ganger is developed and tested with."""


@main.command("binaries")
@click.argument("names", nargs=-1, type=click.Choice(list(binaries.TOOLS)))
def build_binaries(names: tuple[str, ...]) -> None:
    """Build the Kubernetes programs that are missing (all, or NAMES) and print where they lie."""
    for path in binaries.ensure(*names).values():
        click.echo(path)


@main.group("cluster")
def cluster_commands() -> None:
    """Start, stop and inspect the embedded single-node Kubernetes."""


@cluster_commands.command("up")
@_NAME
def cluster_up(name: str) -> None:
    """Start the cluster (again is fine), load the images that are built, and print its kubeconfig."""
    found = cluster.up(name)
    images.load_built(found.containerd)
    click.echo(f"export KUBECONFIG={found.kubeconfig}")


@cluster_commands.command("down")
@_NAME
def cluster_down(name: str) -> None:
    """Stop the cluster and remove all of it but the images."""
    cluster.down(name)
    click.echo(f"cluster {name} is down")


@cluster_commands.command("status")
@_NAME
def cluster_status(name: str) -> None:
    """Print the running programs; exits 1 when there are none."""
    pids = cluster.status(name)
    for service, pid in pids.items():
        click.echo(f"{service:<28}{pid}")
    if not pids:
        click.echo(f"cluster {name} is down")
        sys.exit(1)


@cluster_commands.command("kubeconfig")
@_NAME
def cluster_kubeconfig(name: str) -> None:
    """Print the path of the running cluster's kubeconfig."""
    found = cluster.running(name)
    if found is None:
        raise DevError(f"cluster {name} has no kubeconfig", "it is down", "Start it with `make cluster`.")
    click.echo(found.kubeconfig)


@main.command("images")
@_TORCH
@click.option("--export", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the worker image there.")
@click.option("--export-operator", "operator_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the operator image there.")  # fmt: skip
@click.option("--export-session", "session_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the image of dev sessions there.")  # fmt: skip
@_NAME
def build_images(
    torch: str, file: Path | None, operator_file: Path | None, session_file: Path | None, name: str
) -> None:
    """Build the images and load them into the embedded cluster if it runs; that of sessions with the usual torch."""
    chosen: dict[images.Image, Path | None] = {images.pytorch(torch): file, images.operator(): operator_file}
    if torch == images.DEFAULT_TORCH:
        chosen[images.session()] = session_file
    for image in chosen:
        images.build(image)
    found = cluster.running(name)
    for image, target in chosen.items():
        if found is not None:
            images.load(image, found.containerd)
        if target is not None:
            images.export(image, target)


@main.command("prepare")
@click.option(
    "--images/--no-images", "with_images", default=True, help="Whether to start a cluster and load the images."
)
@_NAME
def prepare(with_images: bool, name: str) -> None:
    """Make everything that tests and benches start from: programs, and unless told otherwise images and a cluster."""
    for package in debian.PROGRAMS:
        try:
            debian.ensure(package)
        except DevError as error:  # a few tests are skipped without it, and say so
            click.echo(f"warning: {error}", err=True)
    binaries.ensure()
    if with_images:
        for image in (images.operator(), images.pytorch(), images.session()):
            images.build(image)
        images.load_built(cluster.up(name).containerd)


@main.command("control-plane")
@click.option("--kwok", "kwok_nodes", default=0, help="Simulate that many nodes.")
def run_control_plane(kwok_nodes: int) -> None:
    """Run a bare control plane until interrupted."""
    with tempfile.TemporaryDirectory(prefix="ganger-") as folder:
        plane = control_plane.start_control_plane(Path(folder), kwok=kwok_nodes > 0)
        try:
            plane.add_kwok_nodes(kwok_nodes)
            click.echo(f"export KUBECONFIG={plane.kubeconfig}\naudit log: {plane.audit_log}\nCtrl-C stops it")
            while plane.running():
                time.sleep(1)
        except KeyboardInterrupt:
            click.echo("stopping")
        finally:
            plane.stop()


@main.command("demo")
def run_demo() -> None:
    """Train the main job, from nothing: cluster, chart, kubectl apply, live logs, accuracy, checkpoints."""
    demo.run()


@main.command("chart")
@click.option("--pods/--no-pods", default=True, help="Whether to install it on the embedded cluster and test it there.")
@click.option("--helm3", is_flag=True, help="With helm 3 instead of helm 4; it is built when it is first asked for.")
def run_chart(pods: bool, helm3: bool) -> None:
    """Test the chart: its schema, all pairs of values on a real API server, a release's life. Exits 1 on a miss."""
    from ganger_dev.chart import run  # what only this command needs

    sys.exit(1 if run.run(pods=pods, helm="helm3" if helm3 else "helm").misses else 0)


@main.command("record")
@_NAME
def run_record(name: str) -> None:
    """Record `kubectl get tj -w` over a whole job on the embedded cluster, into docs/sessions."""
    found, _ = demo.embedded(name)
    for path in recording.write(recording.record(found, images.pytorch().name), repository() / recording.FOLDER):
        click.echo(path)


@main.command("security")
def run_security() -> None:
    """Run every security check, print one line for each, and exit 1 unless all that apply have passed."""
    sys.exit(security.run())


@main.command("dashboards")
@click.option(
    "--prometheus", "url", help="A Prometheus to ask; without one a fleet of its own runs on the embedded cluster."
)
@click.option(
    "--minutes", default=60, show_default=True, type=click.IntRange(min=1), help="How far the boards look back."
)
@click.option("--until", type=float, help="Where they end, in seconds since 1970; now unless said.")
@click.option(
    "--scrape", default=15, show_default=True, type=click.IntRange(min=1), help="Its scrape interval in seconds."
)
@click.option("--var", "variables", multiple=True, metavar="[BOARD/]NAME=REGEX", help="A variable's value.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where the pictures go.")
@click.option("--lenient", is_flag=True, help="Draw although queries lack data, and print which.")
def run_dashboards(
    url: str | None,
    minutes: int,
    until: float | None,
    scrape: int,
    variables: tuple[str, ...],
    out: Path | None,
    lenient: bool,
) -> None:
    """Ask a Prometheus every query of the shipped dashboards and draw each board as Grafana would."""
    from ganger_dev import boards_run, showcase  # the generators of boards take half a second to import

    if url is None:
        found, _ = demo.embedded()
        with (
            tempfile.TemporaryDirectory(prefix="ganger-") as data,
            showcase.running(
                found, Path(data), watch_seconds=showcase.WATCH_SECONDS, image=images.pytorch().name
            ) as fleet,
        ):
            pictures = out or repository() / boards_run.PICTURES
            values = showcase.VALUES | boards_run.assignments(variables)
            click.echo(boards_run.run(fleet.get, fleet.window(), values, folder=pictures, lenient=lenient))
        return
    click.echo(
        boards_run.from_url(
            url, minutes=minutes, until=until, scrape=scrape, variables=variables, folder=out, lenient=lenient
        )
    )


@main.command("generate")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a checked-in file is stale.")
def run_generate(check: bool) -> None:
    """Write every file that is made from code."""
    sys.exit(generate.main(["--check"] if check else []))


def entry() -> None:
    """Run the command line; a DevError becomes one line and exit code 1."""
    try:
        main(prog_name="python -m ganger_dev")
    except DevError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    entry()
