"""Build the Kubernetes programs from source, once for each version, into the cache.

Nothing prebuilt is downloaded: the only source is Go's own module mechanism, whose checksum database vouches for each
module. Each program gets a generated module of its own in a temporary folder: in one for all, dependencies collide.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ganger_dev import golang
from ganger_dev.errors import WITHOUT_A_CLUSTER, DevError
from ganger_dev.paths import below_cache, locked, require_free

KUBERNETES = "1.37.2"
_GO_MINIMUM = (1, 26)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program to build.

    module: the Go module that holds it. package: its main package below the module, "" for the root.
    usual_minutes: what a build took on two cores, for the progress line only. optional: built only when it is named.
    main: a main package of our own instead, where that of the module is far larger than what is needed.
    """

    name: str
    module: str
    version: str
    package: str = ""
    usual_minutes: float = 1.0
    optional: bool = False
    main: str = ""

    @property
    def directory_name(self) -> str:
        """Return the folder name below `<cache>/bin`, one for each version."""
        return f"{self.name}-{self.version}"

    @property
    def import_path(self) -> str:
        """Return the import path of the main package."""
        return f"{self.module}/{self.package}" if self.package else self.module


def _kube(name: str, minutes: float) -> Tool:
    return Tool(name=name, module="k8s.io/kubernetes", version=KUBERNETES, package=f"cmd/{name}", usual_minutes=minutes)


def _containerd(name: str, minutes: float) -> Tool:
    module = "github.com/containerd/containerd/v2"
    return Tool(name=name, module=module, version="2.4.2", package=f"cmd/{name}", usual_minutes=minutes)


# rclone with the one server and the one storage that tests need: a tenth of its build.
_RCLONE_S3 = """package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() { cmd.Main() }
"""

# In build order: what a bare control plane needs comes first, so that integration tests can start meanwhile.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(name="etcd", module="go.etcd.io/etcd/server/v3", version="3.7.3", usual_minutes=0.5),
        _kube("kube-apiserver", 5),
        _kube("kubectl", 1),
        _kube("kube-controller-manager", 3.5),
        _kube("kube-scheduler", 0.5),
        Tool(name="kwok", module="sigs.k8s.io/kwok", version="0.8.0", package="cmd/kwok", usual_minutes=2),
        _containerd("containerd", 2),
        _containerd("containerd-shim-runc-v2", 0.5),
        _containerd("ctr", 0.5),
        _kube("kubelet", 1),
        _kube("kube-proxy", 0.5),
        Tool(name="coredns", module="github.com/coredns/coredns", version="1.15.0", usual_minutes=3),
        Tool(name="helm", module="helm.sh/helm/v4", version="4.3.1", package="cmd/helm", usual_minutes=2),
        Tool(
            name="helm3", module="helm.sh/helm/v3", version="3.22.0", package="cmd/helm", usual_minutes=2, optional=True
        ),
        Tool(name="crictl", module="sigs.k8s.io/cri-tools", version="1.37.0", package="cmd/crictl", usual_minutes=0.5),
        Tool(
            name="kube-network-policies",
            module="sigs.k8s.io/kube-network-policies",
            version="0.8.0",
            package="cmd",
            usual_minutes=1.5,
        ),
        Tool(name="rclone-s3", module="github.com/rclone/rclone", version="1.74.0", usual_minutes=0.5, main=_RCLONE_S3),
        Tool(name="kueue", module="sigs.k8s.io/kueue", version="0.19.2", package="cmd/kueue", usual_minutes=5),
        # Only `bench.control_plane` runs these: what Ganger is measured against.
        Tool(name="jobset", module="sigs.k8s.io/jobset", version="0.12.0", usual_minutes=4, optional=True),
        Tool(
            name="trainer",
            module="github.com/kubeflow/trainer/v2",
            version="2.3.0",
            package="cmd/trainer-controller-manager",
            usual_minutes=4,
            optional=True,
        ),
    )
}


def path_of(name: str) -> Path:
    """Return where the built program `name` lies, whether or not it is built yet."""
    tool = TOOLS[name]
    return below_cache("bin") / tool.directory_name / tool.name


def missing(names: Iterable[str]) -> list[str]:
    """Return those of `names` that are not built yet, in build order."""
    wanted = set(names)
    return [name for name in TOOLS if name in wanted and not path_of(name).exists()]


def ensure(*names: str) -> dict[str, Path]:
    """Return the paths of the named programs (all but optional ones when none is named), building what is missing.

    Raises DevError when Go or disk space is missing or a build fails.
    """
    chosen = names or tuple(name for name, tool in TOOLS.items() if not tool.optional)
    if missing(chosen):
        with locked("binaries"):
            todo = missing(chosen)
            if todo:
                require_free(below_cache("bin"), 8, "building the Kubernetes programs")
            go = _go() if todo else ""
            for position, name in enumerate(todo, start=1):
                _build(go, TOOLS[name], f"{position} of {len(todo)}")
    return {name: path_of(name) for name in chosen}


def go_mod(tool: Tool, replaced: Iterable[str]) -> str:
    """Return the go.mod text of the generated module that builds `tool`.

    replaced: the staging modules that the published go.mod points at folders of its own repository;
    a consumer has to point them at their released versions, v0.Y.Z for Kubernetes v1.Y.Z.
    """
    lines = ["module ganger.dev/build", "", "go 1.26.0", "", "godebug default=go1.26", ""]
    lines.append(f"require {tool.module} v{tool.version}")
    staged = "v0." + tool.version.split(".", 1)[1]
    lines += [f"replace {name} => {name} {staged}" for name in replaced]
    return "\n".join(lines) + "\n"


def staging_modules(published_go_mod: str) -> list[str]:
    """Return the modules that a published go.mod replaces by folders of its own repository."""
    return re.findall(r"^\s*(?:replace\s+)?(k8s\.io/\S+)\s+=>\s+\./staging/", published_go_mod, flags=re.MULTILINE)


def linker_flags(tool: Tool) -> str:
    """Return the linker flags: stripped, and for Kubernetes the version, without which clients refuse the server."""
    flags = ["-s", "-w"]
    if tool.module == "k8s.io/kubernetes":
        major, minor, _ = tool.version.split(".")
        for prefix in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            values = {"gitVersion": f"v{tool.version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
            flags += [f"-X {prefix}.{key}={value}" for key, value in values.items()]
    if tool.module.startswith("github.com/containerd/"):
        flags.append(f"-X {tool.module}/version.Version=v{tool.version}")
    return " ".join(flags)


def _go() -> str:
    go = golang.program()
    text = subprocess.run([go, "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout.strip()
    found = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if found < _GO_MINIMUM:
        raise DevError("the Kubernetes programs cannot be built", f"{text} is older than Go 1.26", WITHOUT_A_CLUSTER)
    return go


def _build(go: str, tool: Tool, position: str) -> None:
    """Build one program and move it into the cache in one rename, so that a half-built one is never found."""
    usual = f"{tool.usual_minutes:g} min"
    print(f"building {tool.name} {tool.version} ({position}, usually {usual}) ... ", end="", flush=True)
    started = time.monotonic()
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    target = path_of(tool.name).parent
    with tempfile.TemporaryDirectory(prefix="build-", dir=below_cache("tmp")) as folder:
        module = Path(folder)
        (module / "go.mod").write_text(go_mod(tool, _replaced(go, tool, environment)))
        out = module / "out"
        out.mkdir()
        # A gentle priority: a test run or an editor on the same machine stays responsive.
        command = ["nice", "-n", "10", go, "build", "-trimpath", "-ldflags", linker_flags(tool)]
        if tool.main:
            (module / "main.go").write_text(tool.main)
        command += ["-o", str(out / tool.name), "." if tool.main else tool.import_path]
        log = below_cache("logs") / f"build-{tool.name}.log"
        with log.open("w") as output:
            code = subprocess.run(command, cwd=module, env=environment, stdout=output, stderr=output).returncode
        if code != 0:
            print("failed", flush=True)
            last = (log.read_text().strip().splitlines() or ["no output"])[-1]
            raise DevError(f"building {tool.name} {tool.version} failed", last, f"The whole output is in {log}.")
        shutil.rmtree(target, ignore_errors=True)
        out.rename(target)
    print(f"done in {time.monotonic() - started:.0f} s", flush=True)


def _replaced(go: str, tool: Tool, environment: dict[str, str]) -> list[str]:
    if tool.module != "k8s.io/kubernetes":
        return []
    command = [go, "mod", "download", "-json", f"{tool.module}@v{tool.version}"]
    found = subprocess.run(command, cwd=below_cache("tmp"), env=environment, capture_output=True, text=True)
    match = re.search(r'"GoMod":\s*"([^"]+)"', found.stdout)
    if found.returncode != 0 or match is None:
        why = (found.stderr.strip() or found.stdout.strip() or "no answer").splitlines()[-1]
        raise DevError(f"downloading {tool.module} {tool.version} failed", why, "Check the network and GOPROXY.")
    return staging_modules(Path(match.group(1)).read_text())


if __name__ == "__main__":
    ensure(*sys.argv[1:])
