"""Everything of `make chart`, on a bare control plane and on the embedded cluster, with the counts at its end."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

from ganger_dev import binaries, cluster, definitions, images
from ganger_dev.chart import matrix
from ganger_dev.chart.lifecycle import Life
from ganger_dev.chart.programs import Programs
from ganger_dev.chart.space import NAMESPACE, OTHER_NAMESPACES
from ganger_dev.chart.tally import Tally
from ganger_dev.control_plane import start_control_plane


def run(*, pods: bool = True, helm: str = "helm") -> Tally:
    """Test the chart and return what held. pods: also install it on the embedded cluster and run `helm test` there.

    helm: helm, or helm3. Without pods the life of the release is looked at on the bare control plane. Raises DevError
    where a program, a definition or the cluster cannot be had.
    """
    started, tally = time.monotonic(), Tally()
    binaries.ensure(helm, "kubectl")
    files = definitions.ensure()
    with tempfile.TemporaryDirectory(prefix="ganger-chart-") as name:
        folder = Path(name)
        offline = Programs(home=folder / "offline", name=helm)
        matrix.lint(offline, tally)
        matrix.refusals(offline, tally)
        plane = start_control_plane(folder / "plane", audit=False, gang=False)
        try:
            bare = Programs(home=folder / "bare", kubeconfig=plane.kubeconfig, name=helm)
            for namespace in (NAMESPACE, *OTHER_NAMESPACES):
                bare.kubectl("create", "namespace", namespace)
            matrix.combinations(bare, tally, definitions=False)
            matrix.install_definitions(bare, files)
            # A home of its own: kubectl remembers for ten minutes what a server serves.
            served = dataclasses.replace(bare, home=folder / "served")
            matrix.combinations(served, tally, definitions=True)
            if not pods:
                Life(programs=bare, tally=tally, kubelet=False).run(folder)
        finally:
            plane.stop()
        if pods:
            _embedded(folder, tally, helm)
    print("\n".join(tally.lines()), flush=True)
    print(f"chart: {time.monotonic() - started:.0f} s", flush=True)
    return tally


def _embedded(folder: Path, tally: Tally, helm: str) -> None:
    for image in (images.operator(), images.pytorch()):
        images.build(image)
    found = cluster.up()
    images.load_built(found.containerd)
    # The tag stays while the sources change: only the annotation makes the pods new ones.
    values = {"podAnnotations": {"ganger.dev/fingerprint": images.operator().fingerprint()}}
    programs = Programs(home=folder / "embedded", kubeconfig=found.kubeconfig, name=helm)
    Life(programs=programs, tally=tally, kubelet=True, values=values).run(folder)
