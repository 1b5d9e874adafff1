"""The project's images: built when what they are made of changed, loaded into the embedded cluster, exported to others.

A changed source file must cost seconds, and the pytorch-cuda image has 5.9 GB of layers that no source file changes.
So a layer that the cluster's store holds is never written or sent again: it stands in the layout as an empty file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ganger_dev import buildah, system
from ganger_dev.containerd import Containerd
from ganger_dev.errors import DevError
from ganger_dev.paths import below_cache, locked, repository, require_free

DEFAULT_TORCH = "2.15.0"
_FINGERPRINT = "ganger.dev/fingerprint"


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """One image of the project. name: `NAME:TAG`, as manifests say it. inputs: files and folders that it is made of.

    dockerfile: its path in the repository. gib: what one copy of it takes, for the check of free disk space.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    gib: float
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Return the name that a kubelet looks for: one without a registry means Docker's."""
        return f"docker.io/library/{self.name}"

    @property
    def built_name(self) -> str:
        """Return the name in buildah's store."""
        return f"localhost/{self.name}"

    def fingerprint(self) -> str:
        """Return a digest of everything that decides the image's content."""
        root = repository()
        files = files_below(root, (self.dockerfile, *self.inputs))
        digest = hashlib.sha256(json.dumps(dict(self.arguments), sort_keys=True).encode())
        for path in files:
            digest.update(f"\0{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def pytorch(torch: str = DEFAULT_TORCH) -> Image:
    """Return the workers' image with that version of torch; each version has a lock of its own."""
    lock = f"requirements/torch-{torch}.lock"
    if not (repository() / lock).is_file():
        known = sorted(path.name[6:-5] for path in (repository() / "requirements").glob("torch-*.lock"))
        raise DevError(f"no image with torch {torch}", f"{lock} is missing", f"Choose one of {', '.join(known)}.")
    trainer = ("jobs/ganger_trainer", "operator/ganger/__init__.py", "operator/ganger/contract.py")
    return Image(
        name=f"pytorch-cuda:v{torch.rpartition('.')[0]}",
        dockerfile="images/pytorch-cuda.Dockerfile",
        inputs=("requirements/trainer.lock", lock, *trainer),
        arguments={"TORCH_VERSION": torch, "VERSION": version()},
        gib=6,
    )


def session() -> Image:
    """Return the image of dev sessions: the workers' image and what a person needs in it."""
    base = pytorch()
    return Image(
        name="pytorch-cuda-dev:" + base.name.rpartition(":")[2],
        dockerfile="images/pytorch-cuda-dev.Dockerfile",
        inputs=(base.dockerfile, *base.inputs, "requirements/session.lock", "jobs/ganger_session"),
        arguments={"BASE": base.built_name, "TORCH_VERSION": DEFAULT_TORCH, "VERSION": version()},
        gib=1,
    )


def operator() -> Image:
    """Return the operator's image."""
    return Image(
        name=f"ganger-operator:{version()}",
        dockerfile="images/operator.Dockerfile",
        inputs=("requirements/operator.lock", "operator/ganger"),
        arguments={"VERSION": version()},
        gib=0.5,
    )


def huggingface() -> Image:
    """Return the image of the Hugging Face example: the workers' image and what a user adds to it."""
    base, example = pytorch(), "jobs/examples/huggingface"
    return Image(
        name="huggingface:v5.24",
        dockerfile=f"{example}/Dockerfile",
        inputs=(base.dockerfile, *base.inputs, "requirements/huggingface.lock", f"{example}/train.py"),
        arguments={"BASE": base.built_name},
        gib=1,
    )


def version() -> str:
    """Return the project's version."""
    content = tomllib.loads((repository() / "pyproject.toml").read_text())
    return str(content["project"]["version"])


def build(image: Image) -> None:
    """Build `image` unless the store holds it with the same fingerprint."""
    system.require_root_linux("building images")
    system.ensure_packages(*system.FOR_IMAGES)
    with locked("images"):
        if is_current(image):
            return
        fingerprint = image.fingerprint()
        buildah.ensure_base()
        known = buildah.exists(image.built_name)
        require_free(below_cache("images"), 1 if known else 2 * image.gib, f"building {image.name}")
        usual = "seconds" if known else "1 to 4 min"
        print(f"building {image.name} (usually {usual}) ... ", end="", flush=True)
        started = time.monotonic()
        log = below_cache("logs") / f"image-{image.name.replace(':', '-')}.log"
        arguments = dict(image.arguments) | {"REVISION": _revision()}
        buildah.build(image.dockerfile, tag=image.built_name, arguments=arguments, log=log)
        _record(image).write_text(fingerprint)
        print(f"done in {time.monotonic() - started:.1f} s", flush=True)


def is_current(image: Image) -> bool:
    """Return whether the store holds `image`, made of what the tree holds now."""
    record = _record(image)
    if not record.exists() or record.read_text() != image.fingerprint():
        return False
    return shutil.which("buildah") is not None and buildah.exists(image.built_name)


def load(image: Image, runtime: Containerd) -> None:
    """Put the built `image` into the store of `runtime`, which must run; only layers that it lacks are sent."""
    with locked("images"):
        fingerprint = _record(image).read_text()
        if f"{_FINGERPRINT}={fingerprint}" in runtime.ctr("images", "list", f"name=={image.full_name}"):
            return
        started = time.monotonic()
        print(f"loading {image.name} into the cluster ... ", end="", flush=True)
        held = held_blobs(runtime.root)
        wanted = buildah.layers(image.built_name)
        if not set(wanted) <= set(held):
            require_free(below_cache("images"), 3 * image.gib, f"loading {image.name}")
        with tempfile.TemporaryDirectory(dir=below_cache("tmp")) as folder:
            layout = Path(folder)
            present = {digest: size for digest, size in held.items() if digest in wanted}
            _reserve(layout, present)
            buildah.write_layout(image.built_name, layout)
            index = json.loads((layout / "index.json").read_text())
            for entry in index["manifests"]:
                entry["annotations"] = {"io.containerd.image.name": image.full_name}
            (layout / "index.json").write_text(json.dumps(index))
            _send(layout, {digest[7:] for digest in present}, runtime)
        runtime.ctr("images", "label", image.full_name, f"{_FINGERPRINT}={fingerprint}")
        # The kubelet's second name of the image that was replaced would keep its layers for ever.
        stale = replaced(runtime.ctr("images", "list"))
        if stale:
            runtime.ctr("images", "remove", *stale)
        print(f"done in {time.monotonic() - started:.1f} s", flush=True)


def load_built(runtime: Containerd) -> None:
    """Put the images that are built from what the tree holds now into the store of `runtime`; tell of the others."""
    for image in (operator(), pytorch(), session()):
        if is_current(image):
            load(image, runtime)
        else:
            print(f"{image.name} is not built from this tree: `make images` builds and loads it", flush=True)


def export(image: Image, file: Path) -> None:
    """Write the built `image` to `file` as an archive for `docker load`, kind, k3d and minikube."""
    require_free(file.resolve().parent, image.gib, f"exporting {image.name}")
    file.unlink(missing_ok=True)  # an archive is never added to
    buildah.run("push", "--quiet", image.built_name, f"docker-archive:{file.resolve()}:{image.full_name}")
    print(f"wrote {image.name} to {file} ({file.stat().st_size / 1e9:.1f} GB)", flush=True)


def files_below(root: Path, names: Iterable[str]) -> list[Path]:
    """Return the files that `names` stand for, in a fixed order; byte code is nobody's source."""
    found: list[Path] = []
    for name in names:
        path = root / name
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in inside if one.is_file() and "__pycache__" not in one.parts]
    return found


def replaced(listing: str) -> list[str]:
    """Return the references by digest of a `ctr images list` whose image has no other name any more. Pure."""
    rows = [line.split()[:3] for line in listing.splitlines()[1:] if line.strip()]
    named = {digest for name, _, digest in rows if not name.startswith("sha256:")}
    return [name for name, _, digest in rows if name.startswith("sha256:") and digest not in named]


def held_blobs(store: Path) -> dict[str, int]:
    """Return digest -> bytes of the blobs of a containerd store, read from its folder: ctr rounds the sizes."""
    blobs = store / "io.containerd.content.v1.content" / "blobs" / "sha256"
    return {f"sha256:{path.name}": path.stat().st_size for path in blobs.iterdir()} if blobs.is_dir() else {}


def _record(image: Image) -> Path:
    return below_cache("images") / f"{image.name.replace(':', '-')}.fingerprint"


def _reserve(layout: Path, present: Mapping[str, int]) -> None:
    """Put an empty file in the place of every layer that need not be written: buildah then takes it for written."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, size in present.items():
        with (blobs / digest[7:]).open("w") as blob:
            blob.truncate(size)


def _send(layout: Path, without: set[str], runtime: Containerd) -> None:
    """Stream the layout into the runtime's store, removing each file once it is sent: a third copy never exists."""
    command = runtime.ctr_command("images", "import", "--digests=false", "-")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", bufsize=1 << 20) as archive:
                for path in files_below(layout, ("oci-layout", "index.json", "blobs")):
                    if path.name not in without:
                        archive.add(path, arcname=str(path.relative_to(layout)))
                        path.unlink()
            process.stdin.close()
        except BrokenPipeError:
            pass  # the program ended early; it says why
        said = process.stdout.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise DevError("loading the image failed", said[-300:] or "ctr said nothing", f"See {runtime.service.log}.")


def _revision() -> str:
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "-C", str(repository()), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() or "unknown"
