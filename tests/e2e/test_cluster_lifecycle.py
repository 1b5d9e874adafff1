"""A stopped cluster leaves nothing behind: no program, mount, link, table, namespace or folder."""

import subprocess
import time
from pathlib import Path

import pytest

from ganger_dev import cluster, images

pytestmark = pytest.mark.e2e

FIXED_PLACES = ("/run/ganger-ganger", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def machine(folder):
    """What a cluster could leave behind, as far as another program could not have made it."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    ours = (str(folder), "/run/ganger-ganger", "io.containerd", "/run/netns/cni-")
    return {
        "links": sorted(line.split()[0].split("@")[0] for line in output("ip", "-brief", "link").splitlines()),
        "routes": output("ip", "route").splitlines(),
        "tables": output("nft", "list", "tables").splitlines(),
        "mounts": [line for line in mounts if any(part in line for part in ours)],
        "programs": [line for line in commands if str(folder).encode() in line or b"/run/ganger-ganger" in line],
        "network namespaces": sorted(path.name for path in Path("/run/netns").glob("cni-*")),
        "control groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("**/kubepods")),
        "folders": [place for place in (*FIXED_PLACES, str(folder)) if Path(place).exists()],
    }


def test_a_stopped_cluster_leaves_nothing_behind_and_starts_again():
    running = cluster.running()
    if running is not None:
        used = running.kubectl("get", "pods,persistentvolumeclaims,crd", "--all-namespaces", "-o", "name").split()
        if used:
            pytest.skip(f"the cluster is in use ({used[0]} and {len(used) - 1} more): run this file alone")
        cluster.down()
    folder = cluster.folder_of(cluster.DEFAULT)
    before = machine(folder)
    image = images.operator()
    images.build(image)
    running = cluster.up()
    images.load(image, running.containerd)
    command = ["--command", "--", "python", "-c", "import time; time.sleep(600)"]
    running.kubectl("run", "left-alone", f"--image={image.name}", *command)
    running.kubectl("wait", "--for=condition=Ready", "pod/left-alone", "--timeout=60s")

    cluster.down()

    time.sleep(0.5)  # the kernel removes a link after its namespace
    assert before == machine(folder)

    cluster.up()
