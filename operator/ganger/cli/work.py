"""Code that a job brings along: its files, the ConfigMap that carries them, and the manifest that runs them."""

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ganger.api.manifest import Located, ManifestError, load
from ganger.cli import manifests
from ganger.cli.manifests import Document, Source
from ganger.cli.problem import Code, Problem
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, API_VERSION, KIND, LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY

CODE_BYTES_MAX = 1_000_000  # a ConfigMap holds 1 MiB, with its keys and metadata
_WORK = ("task", "script", "command", "code")
_NAME_CHARACTERS_MAX = 40


class Work(Struct, frozen=True, kw_only=True):
    """What a job runs. files: text by name. spec: what it is in the manifest. config: settings that it adds there.

    what, source: what it is to a person, such as a notebook, and its file. name: that of the job where nobody names it.
    """

    files: dict[str, str]
    spec: dict[str, Any]
    what: str
    source: str
    name: str
    config: dict[str, Any] = {}


def small(source: str, files: dict[str, str]) -> dict[str, str]:
    """Return the files. Raises Problem where no ConfigMap takes them. source: where they come from."""
    size = sum(len(text.encode()) for text in files.values())
    if size > CODE_BYTES_MAX:
        raise Problem(
            f"the code of {source} is too big",
            f"it has {size} bytes, and a ConfigMap takes {CODE_BYTES_MAX} of them",
            "put data and libraries into the image or a volume (spec.volumes)",
            code=Code.USAGE,
        )
    return files


def base(files: Sequence[str], what: str) -> tuple[str, Located] | None:
    """Return name and content of the manifest that says the rest of the job, None where no file is named.

    It need not say what runs. Raises Problem where it is not one TrainingJob. what: as in `Work`.
    """
    if not files:
        return None
    fix = f"name one file with one {KIND}; what is run may be left out of it"
    if len(files) > 1:
        raise Problem(f"a {what} takes one manifest", ", ".join(files), fix, code=Code.USAGE)
    name = files[0]
    try:
        found = load(sys.stdin.buffer.read() if name == manifests.STDIN else Path(name).read_bytes())
    except ManifestError as error:
        raise Problem(f"{name} cannot be read", escape(str(error)), "correct it", code=Code.USAGE) from error
    if len(found) != 1 or found[0].manifest.get("kind") != KIND:
        raise Problem(f"{name} is not one {KIND}", f"it has {len(found)} documents", fix, code=Code.USAGE)
    return name, found[0]


def document(made: Work, given: tuple[str, Located] | None, *, name: str | None, mounted: bool) -> tuple[Document, str]:
    """Return the job: the base with the work in it, checked; and which fields gave way, "" for none. Pure.

    mounted: the code comes from a ConfigMap. The document may have mistakes.
    """
    source, located = given if given is not None else (made.source, Located({}, {"": 1}))
    manifest = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND} | located.manifest
    spec, metadata = manifest.get("spec") or {}, manifest.get("metadata") or {}
    if not (isinstance(spec, dict) and isinstance(metadata, dict) and isinstance(spec.get("config") or {}, dict)):
        return manifests.checked_document(source, Located(manifest, located.lines)), ""
    spec, metadata = dict(spec), dict(metadata)
    replaced = [f"spec.{field}" for field in _WORK if spec.pop(field, None) is not None]
    metadata["name"] = name or metadata.get("name") or made.name
    metadata.pop("generateName", None)
    code = {"code": {"configMap": {"name": map_name(metadata["name"], made)}}} if mounted else {}
    config = {"config": {**(spec.get("config") or {}), **made.config}} if made.config else {}
    manifest |= {"metadata": metadata, "spec": made.spec | code | spec | config}
    told = f"the {made.what} takes the place of {', '.join(replaced)} of {source}" if replaced else ""
    return manifests.checked_document(source, Located(manifest, located.lines)), told


def only(checked: Document) -> Source:
    """Return the document as a source of one."""
    return Source(name=checked.source, documents=(checked,))


def map_name(job: str, made: Work) -> str:
    """Return the name of the ConfigMap: another code is another object, so no running job changes under its feet."""
    text = msgspec.json.encode(made.files, order="sorted")
    return f"{job}-code-{hashlib.sha256(text).hexdigest()[:8]}"


def config_map(job: str, made: Work, namespace: str | None) -> dict[str, Any]:
    """Return the ConfigMap with the code. Nobody can change it; whoever owns it takes it along."""
    metadata: dict[str, Any] = {"name": map_name(job, made)}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_JOB: job}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": made.files}


def identifier(stem: str) -> str:
    """Return the stem as the beginning of a module's name."""
    text = re.sub(r"\W", "_", stem, flags=re.ASCII).strip("_").lower()
    return text if text[:1].isalpha() else f"n{text}"


def job_name(stem: str) -> str:
    """Return the stem as the name of a job."""
    text = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return (text if text[:1].isalpha() else f"n-{text}".rstrip("-"))[:_NAME_CHARACTERS_MAX].rstrip("-")
